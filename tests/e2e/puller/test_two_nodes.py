"""Five images on two nodes of a real cluster, and pods that start from them without any registry."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from puller_support import LOGIN, push_image, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from puller_support import PullerProcess, Registry

pytestmark = [pytest.mark.cluster, pytest.mark.containerd, pytest.mark.timeout(240)]

NAMESPACE = "kip-e2e-nodes"


def _kubectl(kubectl: str, *arguments: str, text: str | None = None) -> str:
    done = subprocess.run([kubectl, *arguments], input=text, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


@pytest.fixture
def namespace(kubectl: str) -> Iterator[str]:
    _kubectl(kubectl, "create", "namespace", NAMESPACE)
    yield NAMESPACE
    _kubectl(kubectl, "delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def private_host(need: Callable[[object, str], object], private_registry: Registry) -> Iterator[str]:
    """Returns the private registry's address as the nodes know it, without TLS in their configuration."""
    certificates, address = os.environ.get("NODE_CERTS_D", ""), os.environ.get("HOST_ADDRESS", "")
    need(certificates and address, "NODE_CERTS_D and HOST_ADDRESS don't say how the nodes reach a registry of this machine")
    host = f"{address}:{private_registry.port}"
    folder = Path(certificates) / host
    folder.mkdir()
    (folder / "hosts.toml").write_text(f'server = "http://{host}"\n', encoding="utf-8")
    yield host
    (folder / "hosts.toml").unlink()
    folder.rmdir()


def _pod(name: str, image: str, node: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [{"name": "kernel", "image": image, "imagePullPolicy": "Never", "command": ["/noop"]}],
        },
    }


def test_the_state_after_the_first_round_is_exact_on_both_nodes(
    kubectl: str,
    namespace: str,
    node_sockets: list[str],
    cluster_registry: str,
    private_host: str,
    private_registry: Registry,
    start_puller: Callable[..., PullerProcess],
    write_login: Callable[..., Path],
) -> None:
    mark = os.urandom(4).hex()
    push_image(private_registry.address, f"kip-e2e/private-{mark}", "1", auth=LOGIN)
    digest = push_image(cluster_registry, f"kip-e2e/digest-{mark}", "1").digest
    push_image(cluster_registry, f"kip-e2e/moving-{mark}", "latest", content="one")
    private = f"{private_host}/kip-e2e/private-{mark}:1"
    by_digest = f"docker.io/kip-e2e/digest-{mark}@{digest}"
    moving = f"docker.io/kip-e2e/moving-{mark}:latest"
    missing = f"docker.io/kip-e2e/missing-{mark}:1"
    images = f"{private},{missing},Kip-E2E/Wrong:1,{by_digest},{moving}"
    secrets = write_login(private_host)
    pullers = [
        start_puller(
            KIP_CRI_ENDPOINT=f"unix://{socket.removeprefix('unix://')}",
            KIP_IMAGES=images,
            KIP_PULL_SECRETS=str(secrets),
            KIP_PULL_POLICY="Always",
            KIP_INTERVAL="2",
        )
        for socket in node_sockets
    ]
    for puller in pullers:
        wait_until(puller.ready, seconds=30, what=f"ready: {puller.text()}")
        states = {name: (status["state"], status["reason"]) for name, status in puller.images().items()}
        assert states == {
            private: ("present", ""),
            by_digest: ("present", ""),
            moving: ("present", ""),
            missing: ("failed", "permanent"),
        }
        assert [entry["image"] for entry in puller.status()["rejected"]] == ["Kip-E2E/Wrong:1"]
    nodes = _kubectl(kubectl, "get", "nodes", "-o", "jsonpath={.items[*].metadata.name}").split()[:2]
    pods = {
        f"{node}-{number}": _pod(f"{node}-{number}", image, node)
        for node in nodes
        for number, image in enumerate((private, by_digest, moving))
    }
    for pod in pods.values():
        _kubectl(kubectl, "-n", namespace, "apply", "-f", "-", text=json.dumps(pod))

    def phases() -> dict[str, str]:
        items = json.loads(_kubectl(kubectl, "-n", namespace, "get", "pods", "-o", "json"))["items"]
        return {item["metadata"]["name"]: item["status"].get("phase", "") for item in items}

    wait_until(
        lambda: set(phases().values()) == {"Succeeded"} and len(phases()) == len(pods),
        seconds=60,
        what=f"every pod ran: {phases()}",
    )
    second = push_image(cluster_registry, f"kip-e2e/moving-{mark}", "latest", content="two")
    for puller, socket in zip(pullers, node_sockets, strict=True):
        wait_until(lambda at=socket: second.digest in _listed(at, moving), seconds=20, what="the tag has moved")
        assert puller.stop() < 1.0


def _listed(socket: str, image: str) -> str:
    command = ["ctr", "-a", socket.removeprefix("unix://"), "-n", "k8s.io", "images", "ls", f"name=={image}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
