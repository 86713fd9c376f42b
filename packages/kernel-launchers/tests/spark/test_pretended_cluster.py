"""What Spark asks of Kubernetes, asked by a plain client; Spark itself does when an image is built."""

import json
import shutil
import socket
import ssl
import stat
import urllib.error
import urllib.request

import pytest

from kernel_launchers.spark.pretended_cluster import PretendedCluster

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")

_PODS = "/api/v1/namespaces/default/pods"
_POD = {
    "kind": "Pod",
    "metadata": {"name": "exec-1"},
    "spec": {
        "containers": [
            {
                "args": ["executor"],
                "env": [
                    {"name": "PLAIN", "value": "word"},
                    {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ],
            }
        ]
    },
}


@pytest.fixture
def cluster():
    with PretendedCluster("driver") as entered:
        yield entered


def place_of(cluster):
    told = cluster.environment
    return told["KUBERNETES_SERVICE_HOST"], int(told["KUBERNETES_SERVICE_PORT"])


def asked(cluster, method, path, content=None):
    host, port = place_of(cluster)
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(f"https://{host}:{port}{path}", data=data, method=method)
    context = ssl.create_default_context(cafile=cluster.authority)
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:  # noqa: S310  of this test's own server
        return json.load(answer)


def test_the_drivers_pod_is_there_and_ready(cluster):
    pod = asked(cluster, "GET", f"{_PODS}/driver")
    assert pod["metadata"]["uid"]
    assert {"type": "Ready", "status": "True"} in pod["status"]["conditions"]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        asked(cluster, "GET", f"{_PODS}/another")


def test_a_pod_that_is_made_is_a_program_with_its_variables_and_is_listed(cluster, tmp_path, monkeypatch):
    program = tmp_path / "executor"
    program.write_text(f'#!/bin/sh\necho "$PLAIN $ADDRESS $NAME" > {tmp_path}/said\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert asked(cluster, "POST", _PODS, _POD)["status"]["phase"] == "Running"
    cluster.wait_for_executors(10)
    assert (tmp_path / "said").read_text() == "word 127.0.0.1 exec-1\n"
    assert [pod["metadata"]["name"] for pod in asked(cluster, "GET", f"{_PODS}?labelSelector=x")["items"]] == ["driver", "exec-1"]
    assert asked(cluster, "GET", "/api/v1/namespaces/default/configmaps")["items"] == []
    assert asked(cluster, "DELETE", _PODS)["status"] == "Success"


def test_a_watch_tells_by_a_websocket_of_every_pod(cluster):
    asking = f"GET {_PODS}?watch=true HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    plain = socket.create_connection(place_of(cluster), timeout=10)
    with ssl.create_default_context(cafile=cluster.authority).wrap_socket(plain, server_hostname="127.0.0.1") as watching:
        watching.sendall(asking.encode())
        heard = watching.makefile("rb")
        head = iter(heard.readline, b"\r\n")
        # The answer to this very key that the protocol's own text has.
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in list(head)
        assert heard.read(2) == b"\x81\x7e"
        event = json.loads(heard.read(int.from_bytes(heard.read(2), "big")))
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "driver")
