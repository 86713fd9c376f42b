"""Start a kernel through the gateway as a client does, run a cell in it and end it; exit with 0 when the cell's output is right.

Runs in the gateway's image as `helm test`, and uses nothing but Python itself, so that it tests the installation and not a
library: the few lines of the websocket protocol that a client of one message needs stand below.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import socket
import ssl
import struct
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_TOKEN_FILE = Path("/etc/enterprise-gateway/token/token")
_CERTIFICATES = Path("/etc/enterprise-gateway/tls/ca.crt")
_START_SECONDS = float(os.environ.get("START_SECONDS", "120"))
_CELL = "print(6 * 7)"
_EXPECTED = "42"
_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_LENGTH_16, _LENGTH_64 = 126, 127


class Failed(Exception):
    """The installation doesn't do what it should; the text says what."""


class Gateway:
    """The gateway's REST interface."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.tls = ssl.create_default_context(cafile=str(_CERTIFICATES) if _CERTIFICATES.exists() else None)
        token = _TOKEN_FILE.read_text().strip() if _TOKEN_FILE.exists() else ""
        self.headers = {"Authorization": f"token {token}"} if token else {}

    def call(self, verb: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON of an answer; nothing of an empty one."""
        data = None if body is None else json.dumps(body).encode()
        headers = {**self.headers, "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=verb)  # noqa: S310  http or https
        try:
            with urllib.request.urlopen(request, timeout=_START_SECONDS, context=self.tls) as answer:  # noqa: S310  as above
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise Failed(f"{verb} {path} is answered {error.code}: {error.read().decode(errors='replace')}") from error
        return dict(json.loads(text)) if text else {}


class Websocket:
    """A websocket of one kernel."""

    def __init__(self, gateway: Gateway, path: str) -> None:
        parts = urlsplit(gateway.url + path)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        plain = socket.create_connection((host, port), timeout=_START_SECONDS)
        self._socket = gateway.tls.wrap_socket(plain, server_hostname=host) if parts.scheme == "https" else plain
        self._received = self._socket.makefile("rb")
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        lines = [f"GET {parts.path} HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        lines += [f"{name}: {value}" for name, value in gateway.headers.items()]
        self._socket.sendall("\r\n".join((*lines, "", "")).encode())
        status = self._received.readline().decode().strip()
        answer = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in self._header_lines())}
        expected = base64.b64encode(hashlib.sha1((key + _MAGIC).encode(), usedforsecurity=False).digest()).decode()
        if " 101 " not in f"{status} " or answer.get("sec-websocket-accept") != expected:
            raise Failed(f"the websocket isn't accepted: {status}")

    def _header_lines(self) -> list[str]:
        lines = []
        while (line := self._received.readline().decode().strip()) != "":
            lines.append(line)
        return lines

    def send(self, message: dict[str, Any]) -> None:
        """Send a message."""
        self._send(_TEXT, json.dumps(message).encode())

    def _send(self, kind: int, data: bytes) -> None:
        mask = secrets.token_bytes(4)
        size = (
            struct.pack("!BH", 0x80 | _LENGTH_16, len(data)) if len(data) >= _LENGTH_16 else struct.pack("!B", 0x80 | len(data))
        )
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
        self._socket.sendall(struct.pack("!B", 0x80 | kind) + size + mask + masked)

    def receive(self) -> dict[str, Any]:
        """Return the next message."""
        whole = b""
        while True:
            first, second = self._read(2)
            length = second & 0x7F
            if length == _LENGTH_16:
                (length,) = struct.unpack("!H", self._read(2))
            elif length == _LENGTH_64:
                (length,) = struct.unpack("!Q", self._read(8))
            data, kind = self._read(length), first & 0x0F
            if kind == _PING:
                self._send(_PONG, data)
            elif kind == _CLOSE:
                raise Failed(f"the websocket was closed: {data[2:].decode(errors='replace')}")
            elif kind != _PONG:
                whole += data
                if first & 0x80:
                    return dict(json.loads(whole))

    def _read(self, size: int) -> bytes:
        data = self._received.read(size)
        if len(data) < size:
            raise Failed("the websocket's connection was lost")
        return data


def output_of_cell(websocket: Websocket, cell: str) -> str:
    """Return what a cell prints."""
    session, message_id = secrets.token_hex(16), secrets.token_hex(16)
    header = {"msg_id": message_id, "msg_type": "execute_request", "session": session, "username": "helm-test", "version": "5.4"}
    content = {"code": cell, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    websocket.send({"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content, "buffers": []})
    printed, answered, idle = "", False, False
    while not (answered and idle):
        message = websocket.receive()
        if message["parent_header"].get("msg_id") != message_id:
            continue
        match message["header"]["msg_type"]:
            case "stream":
                printed += message["content"]["text"]
            case "error":
                raise Failed(f"the cell failed: {message['content'].get('evalue')}")
            case "execute_reply":
                answered = True
            case "status":
                idle = message["content"]["execution_state"] == "idle"
    return printed.strip()


def run() -> None:
    """Try the installation once.

    Raises
    ------
    Failed, OSError
        It doesn't do what it should.
    """
    gateway, begin = Gateway(os.environ["GATEWAY_URL"].rstrip("/")), time.monotonic()
    specs = gateway.call("GET", "/api/kernelspecs")
    print(f"Kernelspecs: {', '.join(sorted(specs['kernelspecs'])) or 'none'}", flush=True)
    kernel = gateway.call("POST", "/api/kernels", {"name": os.environ["KERNEL_NAME"] or specs["default"]})
    print(f"Kernel {kernel['id']} started after {time.monotonic() - begin:.1f} s", flush=True)
    try:
        printed = output_of_cell(Websocket(gateway, f"/api/kernels/{kernel['id']}/channels"), _CELL)
    finally:
        gateway.call("DELETE", f"/api/kernels/{kernel['id']}")
    if printed != _EXPECTED:
        raise Failed(f"the cell {_CELL!r} printed {printed!r}")
    print(f"A cell ran: {_CELL} gave {printed}")


def main() -> int:
    """Try the installation and tell the result."""
    try:
        run()
    except (Failed, OSError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
