"""Images made by hand, and registries that fail on demand and count what they are asked.

No base image is needed: an image here is one layer with a few files, a configuration and a manifest, pushed by the
registry's HTTP interface.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import http.server
import io
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import tarfile
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import requests
from puller_waiting import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["LOGIN", "Fault", "FaultyRegistry", "PushedImage", "Registry", "noop_program", "push_image"]

LOGIN = ("puller", "correct horse")
"""The login of a private registry; its hash stands beside it because no tool for bcrypt is everywhere."""
_LOGIN_HASH = "$2b$04$gms5O4rcROeDhl9vp.WOHuYZPYJx.lJWypldQqvQ7e.Oh2Bm5ZfyO"

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_CHUNK = 16 * 1024


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
        files["ballast"] = random.Random(content).randbytes(size)  # noqa: S311  only to be large
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
    """A `docker-registry` of our own on loopback, with basic authentication when it is private."""

    def __init__(self, folder: Path, *, private: bool = False) -> None:
        program = shutil.which("docker-registry")
        if program is None:
            raise FileNotFoundError("docker-registry is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.login = LOGIN if private else None
        configuration: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
            "http": {"addr": f"0.0.0.0:{self.port}"},
        }
        if private:
            (folder / "htpasswd").write_text(f"{LOGIN[0]}:{_LOGIN_HASH}\n", encoding="utf-8")
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


class ClosingServer(http.server.ThreadingHTTPServer):
    """Ends with its connections and their threads: a client that keeps a connection would keep a thread beyond its test."""

    daemon_threads = False  # so that server_close() waits for them

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note a connection, and serve it."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that ends."""
        self._open.discard(request)
        super().shutdown_request(request)

    def close(self) -> None:
        """Take no more connections, and end those that there are."""
        self.shutdown()
        for connection in list(self._open):
            with contextlib.suppress(OSError):  # the client was faster
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


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
            # A runtime that tries TLS first falls back only if the refusal is in a form that it knows for HTTP.
            default_request_version = "HTTP/1.1"

            def _serve(self) -> None:
                proxy.serve(self)

            do_GET = do_HEAD = _serve  # noqa: N815  names of http.server

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ClosingServer((host, port), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def count(self, part: str = "", *, method: str = "") -> int:
        """Return how many requests so far had `part` in their path."""
        with self._lock:
            return sum(part in path and method in {"", verb} for _, verb, path in self.requests)

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
        connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
        for name, value in handler.headers.items():
            # One by one: a client may send a header more than once.
            if name.lower() != "connection":
                connection.putheader(name, value)
        connection.endheaders()
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
                    # Closing the object would leave its reader's copy of the connection open: close the connection itself.
                    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    os.close(handler.connection.detach())
                    handler.close_connection = True
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
        self._server.close()
