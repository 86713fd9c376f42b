"""Kubernetes for one Spark session in the build of an image: what Spark asks is answered, and its pods are processes here."""

import base64
import hashlib
import json
import os
import ssl
import subprocess
import tempfile
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, List, Optional, Type
from urllib.parse import parse_qs, urlsplit

__all__ = ["PretendedCluster"]

_ADDRESS = "127.0.0.1"
_CERTIFICATE = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=kubernetes")
_WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT = 0x81
_LENGTH_FOLLOWS = 126
_FIELDS = {"status.podIP": _ADDRESS}
_Object = Dict[str, Any]


class PretendedCluster:
    """A server on this machine, while it is entered.

    Parameters
    ----------
    driver
        The name of the driver's pod, which is there from the beginning.
    """

    def __init__(self, driver: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="cluster-")
        self.authority = str(Path(self._folder.name, "ca.crt"))
        key = str(Path(self._folder.name, "key.pem"))
        names = ["-addext", f"subjectAltName=IP:{_ADDRESS}"]
        subprocess.run(  # noqa: S603  constants
            ["openssl", *_CERTIFICATE, *names, "-keyout", key, "-out", self.authority],  # noqa: S607  whichever the image has
            check=True,
            capture_output=True,
        )
        self._server = ThreadingHTTPServer((_ADDRESS, 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        # Each is waited for at the end.
        self._server.daemon_threads = False
        self._changed = threading.Condition()
        self._ending = False
        self._pods: Dict[str, _Object] = {}
        self._events: List[_Object] = []
        self._processes: List["subprocess.Popen[bytes]"] = []
        self._add(_running({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": driver}, "spec": {"containers": []}}))

    def __enter__(self) -> "PretendedCluster":  # noqa: PYI034  Self is newer than the oldest Python here
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._server.server_close()
        for process in self._processes:
            process.kill()
            process.wait()
        self._folder.cleanup()

    @property
    def environment(self) -> "Dict[str, str]":
        """What every pod knows of its cluster."""
        return {"KUBERNETES_SERVICE_HOST": _ADDRESS, "KUBERNETES_SERVICE_PORT": str(self._server.server_address[1])}

    def wait_for_executors(self, seconds: float) -> None:
        """Return when the executors have ended."""
        for process in self._processes:
            process.wait(seconds)

    def _add(self, pod: _Object) -> None:
        with self._changed:
            self._pods[pod["metadata"]["name"]] = pod
            self._events.append({"type": "ADDED", "object": pod})
            self._changed.notify_all()

    def make(self, pod: _Object) -> _Object:
        """Return a pod that runs, as the first argument of its container on this machine."""
        running = _running(pod)
        (container,) = pod["spec"]["containers"]
        self._processes.append(
            subprocess.Popen(  # noqa: S603  what Spark asks for in this image's build
                container["args"],
                env={**os.environ, **_environment(container, pod["metadata"]["name"])},
            )
        )
        self._add(running)
        return running

    def pods(self) -> List[_Object]:
        """Return all of them."""
        with self._changed:
            return list(self._pods.values())

    def pod(self, name: str) -> Optional[_Object]:
        """Return one; `None` where there is none of this name."""
        with self._changed:
            return self._pods.get(name)

    def event(self, number: int) -> Optional[_Object]:
        """Return what happened, the first time and so on; waits until it does, or all of this ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._ending or len(self._events) > number)
            return None if self._ending else self._events[number]

    def _handler(self) -> "Type[BaseHTTPRequestHandler]":
        cluster = self

        class Handler(_Handler):
            def cluster(self) -> PretendedCluster:
                return cluster

        return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def cluster(self) -> PretendedCluster:
        raise NotImplementedError

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        name = asked.path.partition("/pods/")[2]
        if name:
            pod = self.cluster().pod(name)
            self._answer(200 if pod else 404, pod or {"kind": "Status", "status": "Failure", "code": 404})
        elif parse_qs(asked.query).get("watch") == ["true"]:
            self._watch()
        else:
            self._answer(200, {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": self._listed()})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(201, self.cluster().make(body))

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(200, {"apiVersion": "v1", "kind": "Status", "status": "Success"})

    def _listed(self) -> List[_Object]:
        return self.cluster().pods() if self.path.partition("?")[0].endswith("/pods") else []

    def _answer(self, status: int, content: _Object) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _watch(self) -> None:
        """Tell by a websocket, as Kubernetes' own clients of Java have it, what happens; until the client goes."""
        key = hashlib.sha1(self.headers["Sec-WebSocket-Key"].encode() + _WEBSOCKET).digest()  # noqa: S324  the protocol's
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(key).decode())
        self.end_headers()
        number, event = 0, self.cluster().event(0)
        while event is not None:
            data = json.dumps(event).encode()
            length = (
                bytes([len(data)]) if len(data) < _LENGTH_FOLLOWS else bytes([_LENGTH_FOLLOWS]) + len(data).to_bytes(2, "big")
            )
            self.wfile.write(bytes([_TEXT]) + length + data)
            number += 1
            event = self.cluster().event(number)
        self.close_connection = True


def _running(pod: _Object) -> _Object:
    name = pod["metadata"]["name"]
    ready = {"type": "Ready", "status": "True"}
    state = {"running": {"startedAt": "2020-01-01T00:00:00Z"}}
    container = {"name": "kernel", "image": "none", "imageID": "none", "ready": True, "restartCount": 0, "state": state}
    own = {"uid": str(uuid.uuid4()), "resourceVersion": "1", "namespace": "default", "creationTimestamp": "2020-01-01T00:00:00Z"}
    status = {"phase": "Running", "podIP": _ADDRESS, "conditions": [ready], "containerStatuses": [{**container, "name": name}]}
    return {**pod, "metadata": {**pod["metadata"], **own}, "status": status}


def _environment(container: _Object, name: str) -> "Dict[str, str]":
    fields = {**_FIELDS, "metadata.name": name}
    told = {}
    for variable in container.get("env", []):
        path = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
        told[variable["name"]] = variable.get("value") or fields.get(path, "")
    return told
