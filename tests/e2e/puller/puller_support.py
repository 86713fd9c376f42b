"""Images made by hand, registries that fail on demand, and the puller as a process of its own.

No base image is needed: an image here is one layer with one file, a configuration and a manifest, pushed by the
registry's HTTP interface.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import http.server
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = [
    "Fault",
    "FaultyRegistry",
    "KernelspecsServer",
    "PullerProcess",
    "Registry",
    "free_port",
    "noop_program",
    "push_image",
    "wait_until",
]

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_CHUNK = 16 * 1024


def free_port() -> int:
    """Return a port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """Return the first true value of `condition`; fail with `what` when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}; last: {value!r}")
        time.sleep(0.05)


def noop_program() -> bytes:
    """Return a static program for x86-64 that exits with 0."""
    # exit(0): xor edi, edi; mov eax, 60; syscall
    code = b"\x31\xff\xb8\x3c\x00\x00\x00\x0f\x05"
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += b"\x02\x00\x3e\x00\x01\x00\x00\x00" + (0x400078).to_bytes(8, "little") + (64).to_bytes(8, "little") + bytes(8)
    header += bytes(4) + (64).to_bytes(2, "little") + (56).to_bytes(2, "little") + (1).to_bytes(2, "little") + bytes(6)
    size = (120 + len(code)).to_bytes(8, "little")
    program = b"\x01\x00\x00\x00\x05\x00\x00\x00" + bytes(8) + (0x400000).to_bytes(8, "little") * 2 + size * 2
    return header + program + (0x1000).to_bytes(8, "little") + code


@dataclass(frozen=True)
class PushedImage:
    """What a registry has of an image."""

    repository: str
    tag: str
    digest: str
    layer_digest: str
    layer_size: int


def _layer(content: str, size: int) -> bytes:
    stream = io.BytesIO()
    files = {"noop": noop_program(), "content": content.encode()}
    if size:
        files["ballast"] = random.Random(content).randbytes(size)
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def push_image(
    registry: str,
    repository: str,
    tag: str,
    *,
    content: str = "",
    size: int = 0,
    auth: tuple[str, str] | None = None,
) -> PushedImage:
    """Push an image of about `size` bytes that differs from others by `content`."""
    session = requests.Session()
    session.trust_env = False
    session.auth = auth
    plain = _layer(content or f"{repository}:{tag}", size)
    layer = gzip.compress(plain, compresslevel=1, mtime=0)
    configuration = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/noop"], "User": "65534"},
            "rootfs": {"type": "layers", "diff_ids": [_digest(plain)]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": _digest(configuration),
                "size": len(configuration),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": _digest(layer),
                    "size": len(layer),
                }
            ],
        }
    ).encode()
    base = f"http://{registry}/v2/{repository}"
    for blob in (layer, configuration):
        started = session.post(f"{base}/blobs/uploads/", timeout=60)
        started.raise_for_status()
        place = started.headers["Location"]
        separator = "&" if "?" in place else "?"
        session.put(f"{place}{separator}digest={_digest(blob)}", data=blob, timeout=60).raise_for_status()
    put = session.put(f"{base}/manifests/{tag}", data=manifest, headers={"Content-Type": MANIFEST_TYPE}, timeout=60)
    put.raise_for_status()
    session.close()
    return PushedImage(repository, tag, _digest(manifest), _digest(layer), len(layer))


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    """A `docker-registry` of our own on loopback, with basic authentication when there is a login."""

    def __init__(self, folder: Path, *, login: tuple[str, str] | None = None) -> None:
        program = shutil.which("docker-registry")
        if program is None:
            raise FileNotFoundError("docker-registry is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.login = login
        configuration: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
            "http": {"addr": f"0.0.0.0:{self.port}"},
        }
        if login:
            hashed = subprocess.run(["htpasswd", "-nbB", *login], check=True, capture_output=True, text=True).stdout
            (folder / "htpasswd").write_text(hashed, encoding="utf-8")
            configuration["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
        (folder / "config.json").write_text(json.dumps(configuration), encoding="utf-8")
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen([program, "serve", str(folder / "config.json")], stdout=log, stderr=log)
        wait_until(self._answers, seconds=20, what="the registry answers")

    def _answers(self) -> bool:
        try:
            return requests.get(f"http://{self.address}/v2/", timeout=1).status_code in {200, 401}
        except requests.RequestException:
            return False

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)


@dataclass
class Fault:
    """What a registry answers instead of the truth."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    bytes_per_second: int = 0
    reset_after: int = -1
    """Close the connection, hard, after so many bytes of a body."""


class FaultyRegistry:
    """Stands before a registry, counts what is asked, and fails as it is told.

    `fault` is asked for every request: it gets method and path and returns what goes wrong, or nothing.
    """

    def __init__(self, upstream: str, *, host: str = "0.0.0.0", port: int = 0) -> None:  # noqa: S104  nodes reach it
        self.upstream = upstream
        self.fault: Callable[[str, str], Fault | None] = lambda _method, _path: None
        self.requests: list[tuple[float, str, str]] = []
        self._lock = threading.Lock()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                proxy.serve(self)

            do_GET = do_HEAD = _serve

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def count(self, part: str = "", *, method: str = "") -> int:
        """Return how many requests so far had `part` in their path."""
        with self._lock:
            return sum(part in path and method in {"", verb} for _, verb, path in self.requests)

    def kinds(self) -> Counter[str]:
        """Return how many requests there were of each kind."""
        with self._lock:
            return Counter(f"{verb} {path.split('/')[-2] if '/v2/' in path else path}" for _, verb, path in self.requests)

    def forget(self) -> None:
        """Count anew."""
        with self._lock:
            self.requests.clear()

    def serve(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        with self._lock:
            self.requests.append((time.monotonic(), handler.command, handler.path))
        fault = self.fault(handler.command, handler.path)
        if fault is not None and fault.status:
            handler.send_response(fault.status)
            for name, value in fault.headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(fault.body)))
            handler.end_headers()
            if handler.command != "HEAD":
                handler.wfile.write(fault.body)
            return
        self._forward(handler, fault or Fault())

    def _forward(self, handler: http.server.BaseHTTPRequestHandler, fault: Fault) -> None:
        connection = http.client.HTTPConnection(self.upstream, timeout=30)
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in {"host", "connection"}}
        headers["Host"] = handler.headers.get("Host", self.upstream)
        connection.request(handler.command, handler.path, headers=headers)
        answer = connection.getresponse()
        handler.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"connection", "transfer-encoding"}:
                handler.send_header(name, value)
        handler.end_headers()
        sent = 0
        try:
            while handler.command != "HEAD" and (chunk := answer.read(self._chunk(fault))):
                if 0 <= fault.reset_after <= sent:
                    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                    handler.connection.close()
                    return
                handler.wfile.write(chunk)
                sent += len(chunk)
                if fault.bytes_per_second:
                    time.sleep(len(chunk) / fault.bytes_per_second)
        except (ConnectionError, OSError):
            handler.close_connection = True
        finally:
            connection.close()

    @staticmethod
    def _chunk(fault: Fault) -> int:
        return min(_CHUNK, max(1, fault.bytes_per_second // 4)) if fault.bytes_per_second else _CHUNK

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


class KernelspecsServer:
    """What a gateway answers to `/api/kernelspecs`, with an ETag."""

    def __init__(self, *, token: str = "", port: int = 0) -> None:
        self.token = token
        self.kernelspecs: dict[str, Any] = {}
        self.statuses: list[int] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.serve(self)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("0.0.0.0", port), Handler)  # noqa: S104  pods reach it
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def set_images(self, images: Mapping[str, str | dict[str, Any]]) -> None:
        """Serve one kernelspec for each name, with this image or this config."""
        self.kernelspecs = {
            name: {
                "name": name,
                "spec": {
                    "argv": [],
                    "display_name": name,
                    "language": "python",
                    "metadata": {
                        "process_proxy": {
                            "class_name": "enterprise_gateway.services.processproxies.k8s.KubernetesProcessProxy",
                            "config": config if isinstance(config, dict) else {"image_name": config},
                        }
                    },
                },
                "resources": {},
            }
            for name, config in images.items()
        }

    def serve(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = json.dumps({"default": "python3", "kernelspecs": self.kernelspecs}).encode()
        etag = '"' + hashlib.sha256(body).hexdigest() + '"'
        if self.token and handler.headers.get("Authorization") != f"token {self.token}":
            status, body = 401, b"{}"
        elif handler.path != "/api/kernelspecs":
            status, body = 404, b"{}"
        elif handler.headers.get("If-None-Match") == etag:
            status, body = 304, b""
        else:
            status = 200
        self.statuses.append(status)
        handler.send_response(status)
        handler.send_header("ETag", etag)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


class PullerProcess:
    """`kernel-image-puller` with nothing of this environment but what it is given."""

    def __init__(self, log: Path, *arguments: str, **environment: str) -> None:
        self.port = free_port()
        self.log = log
        settings = {
            "PATH": os.environ["PATH"],
            "HOME": str(log.parent),
            "KIP_HTTP_PORT": str(self.port),
            "KIP_MIN_FREE_PERCENT": "0",
            "KIP_NODE_NAME": "test-node",
            **environment,
        }
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kernel_image_puller", *arguments], env=settings, stdout=stream, stderr=stream
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    def status(self) -> dict[str, Any]:
        """Return the page /status; empty while it isn't served."""
        try:
            answer: dict[str, Any] = requests.get(f"http://127.0.0.1:{self.port}/status", timeout=5).json()
        except requests.RequestException:
            if self.process.poll() is not None:
                raise AssertionError(f"the puller has ended: {self.text()}") from None
            return {}
        return answer

    def images(self) -> dict[str, dict[str, Any]]:
        """Return image to status."""
        return {image["image"]: image for image in self.status().get("images", [])}

    def state(self, image: str) -> str:
        """Return the state of one image."""
        return str(self.images().get(image, {}).get("state", ""))

    def wait_for(self, image: str, state: str, *, seconds: float = 30) -> dict[str, Any]:
        """Wait until an image is in a state, and return its status."""
        wait_until(lambda: self.state(image) == state, seconds=seconds, what=f"{image} is {state}: {self.text()[-3000:]}")
        return self.images()[image]

    def ready(self) -> bool:
        """Tell whether the first round is done."""
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5).status_code == requests.codes.ok
        except requests.RequestException:
            return False

    def metrics(self) -> dict[str, float]:
        """Return metric to value."""
        text = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5).text
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in lines}

    def text(self) -> str:
        """Return everything that it has written."""
        return self.log.read_text(encoding="utf-8")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def stop(self) -> float:
        """End it as Kubernetes does; return how long that took."""
        started = time.monotonic()
        self.process.terminate()
        assert self.process.wait(10) == 0, self.text()
        return time.monotonic() - started


def lines_of(stream: Iterator[str]) -> list[str]:
    """Return lines without their ends."""
    return [line.rstrip("\n") for line in stream]
