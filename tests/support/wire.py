"""A websocket client that does as little as possible, so that a benchmark measures the server and not its client.

It never decodes a message: an answer is recognised by bytes that must be in it. One frame a message is enough, because
neither tornado nor the clients here split messages.
"""

from __future__ import annotations

import re
import select
import socket
import struct
import time
import uuid
from typing import TYPE_CHECKING, Self

from tests.support.messages import V1_PROTOCOL, encode_legacy, encode_v1, request

if TYPE_CHECKING:
    from tests.support.servers import Server

__all__ = ["WireClient"]

_IDLE = re.compile(rb'"execution_state":\s*"idle"')
_CHUNK = 1 << 18
_EXECUTE = {"silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False, "stop_on_error": True}


class WireClient:
    """One kernel's websocket on a bare socket with TCP_NODELAY.

    Parameters
    ----------
    receive_buffer
        Bytes that the operating system may hold for this side; its own choice where none is given.
    """

    def __init__(self, server: Server, kernel_id: str, *, protocol: str = "", receive_buffer: int | None = None) -> None:
        self.session = uuid.uuid4().hex
        self.protocol = protocol
        self.received = 0
        self._buffer = bytearray()
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(120)
        self.socket.connect(("127.0.0.1", server.port))
        self._handshake(server, kernel_id)

    def _handshake(self, server: Server, kernel_id: str) -> None:
        lines = [
            f"GET {server.base_url.rstrip('/')}/api/kernels/{kernel_id}/channels?session_id={self.session} HTTP/1.1",
            f"Host: 127.0.0.1:{server.port}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            *(f"{name}: {value}" for name, value in server.headers.items()),
            *([f"Sec-WebSocket-Protocol: {self.protocol}"] if self.protocol else []),
        ]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._fill()
        head = bytes(self._buffer[:end])
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(head.decode(errors="replace"))
        del self._buffer[: end + 4]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def _fill(self) -> None:
        chunk = self.socket.recv(_CHUNK)
        if not chunk:
            raise ConnectionError("the server closed the websocket")
        self.received += len(chunk)
        self._buffer += chunk

    def prepare(self, code: str) -> tuple[bytes, bytes]:
        """Return the frame of an execute_request and the bytes that each of its answers holds."""
        message = request("shell", "execute_request", {"code": code, **_EXECUTE}, session=self.session)
        payload = encode_v1(message) if self.protocol == V1_PROTOCOL else encode_legacy(message)
        opcode = 0x2 if isinstance(payload, bytes) else 0x1
        data = payload if isinstance(payload, bytes) else payload.encode()
        return _frame(opcode, data), message.id.encode()

    @staticmethod
    def is_idle(message: bytes) -> bool:
        """Tell whether a message is an idle status."""
        return _IDLE.search(message) is not None

    def available(self) -> list[bytes]:
        """Read once and return the messages that are complete."""
        self._fill()
        messages = []
        while (frame := self._complete()) is not None:
            messages.append(frame[1])
        return messages

    def next_frame(self) -> bytes:
        """Return the next message's bytes; pings are answered on the way."""
        while True:
            opcode, payload = self._next()
            if opcode == 0x9:
                self.socket.sendall(_frame(0xA, payload))
            elif opcode == 0x8:
                raise ConnectionError(f"the server closed the websocket: {payload!r}")
            else:
                return payload

    def _next(self) -> tuple[int, bytes]:
        while (frame := self._complete()) is None:
            self._fill()
        return frame

    def _complete(self) -> tuple[int, bytes] | None:
        """Take the first frame out of the buffer, if all of it is there."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, start = buffer[1] & 0x7F, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[2:start])
        if len(buffer) < start + length:
            return None
        opcode, payload = buffer[0] & 0x0F, bytes(buffer[start : start + length])
        del buffer[: start + length]
        return opcode, payload

    def run(self, code: str) -> float:
        """Execute code and return the seconds until both its reply and its idle status are here."""
        frame, mark = self.prepare(code)
        begun = time.perf_counter()
        self.socket.sendall(frame)
        self.wait(mark)
        return time.perf_counter() - begun

    def wait(self, mark: bytes) -> None:
        """Return once a reply and an idle status with the mark have come."""
        replied = idle = False
        while not (replied and idle):
            message = self.next_frame()
            if mark in message:
                replied = replied or b'"execute_reply"' in message
                idle = idle or self.is_idle(message)

    def drain(self, code: str, *, bytes_a_second: float | None = None, seconds: float = 120) -> tuple[float, int]:
        """Execute code, throw everything away unparsed; return seconds and bytes up to its idle status.

        With a rate it reads no faster, and ends when the seconds are over.
        """
        frame, _ = self.prepare(code)
        begun = time.perf_counter()
        self.socket.sendall(frame)
        view, tail, count = memoryview(bytearray(_CHUNK)), b"", 0
        while time.perf_counter() - begun < seconds:
            if bytes_a_second is not None:
                time.sleep(max(0.0, begun + count / bytes_a_second - time.perf_counter()))
            if not select.select([self.socket], [], [], 1)[0]:
                continue
            size = self.socket.recv_into(view if bytes_a_second is None else view[:16384])
            if not size:
                raise ConnectionError("the server closed the websocket")
            count += size
            chunk = tail + view[:size]
            # The marker may lie across two chunks; the kernel's own idle status is the cell's last message.
            if _IDLE.search(chunk):
                break
            tail = chunk[-64:]
        return time.perf_counter() - begun, count


def _frame(opcode: int, payload: bytes) -> bytes:
    """A final frame with a mask of zeros, which leaves the payload as it is: masking costs the client nothing."""
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
    return head + bytes(4) + payload
