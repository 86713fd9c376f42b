"""A kernel's websocket as the plain `websocket-client` library opens it."""

from __future__ import annotations

import contextlib
import time
import uuid
from typing import TYPE_CHECKING, Any, Self

import websocket
from tests.support.messages import V1_PROTOCOL, Message, decode, encode_legacy, encode_v1, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.servers import Server

__all__ = ["LEGACY", "PROTOCOLS", "V1_PROTOCOL", "KernelSocket", "text_of"]

LEGACY = ""
PROTOCOLS = (LEGACY, V1_PROTOCOL)


def text_of(messages: list[Message], name: str = "stdout") -> str:
    """Join what a stream printed."""
    return "".join(m.content["text"] for m in messages if m.type == "stream" and m.content["name"] == name)


def _tls_options(server: Server) -> dict[str, str]:
    if server.tls is None:
        return {}
    certificate, key = map(str, server.tls.client)
    return {"ca_certs": str(server.tls.authority), "certfile": certificate, "keyfile": key}


class KernelSocket:
    """One websocket to one kernel; every wait has an end.

    Parameters
    ----------
    protocol
        `LEGACY`, or a subprotocol to offer.
    session
        What is sent as `session_id`; a new one where none is given.
    """

    def __init__(self, server: Server, kernel_id: str, *, protocol: str = LEGACY, session: str | None = None) -> None:
        self.session = session or uuid.uuid4().hex
        self.protocol = protocol
        self._kernel_id = kernel_id
        # As a plain header: the library's own option refuses a server that chooses none of what was offered.
        offer = {"Sec-WebSocket-Protocol": protocol} if protocol else {}
        self.socket = websocket.create_connection(
            f"{server.websocket_url}/api/kernels/{kernel_id}/channels?session_id={self.session}",
            header=server.headers | offer,
            timeout=30,
            enable_multithread=True,
            sslopt=_tls_options(server),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def back_at(self, server: Server, *, within: float = 60) -> KernelSocket:
        """Return a client with the same session, as soon as a server takes it."""
        deadline = time.monotonic() + within
        while True:
            try:
                return KernelSocket(server, self._kernel_id, session=self.session, protocol=self.protocol)
            except (websocket.WebSocketException, OSError):
                assert time.monotonic() < deadline, f"not within {within} s"
                time.sleep(0.05)

    @property
    def chosen(self) -> str:
        """The subprotocol that the server chose."""
        return self.socket.getheaders().get("sec-websocket-protocol", LEGACY)

    def close(self) -> None:
        """Close in order."""
        self.socket.close()
        self.socket.shutdown()  # which `close` leaves out where the server closed first

    def drop(self) -> None:
        """Lose the connection as a network does: no closing frame."""
        with contextlib.suppress(OSError):
            self.socket.sock.close()

    def send(self, channel: str, kind: str, content: dict[str, Any], *, buffers: tuple[bytes, ...] = ()) -> Message:
        """Send one message and return it."""
        message = request(channel, kind, content, session=self.session, buffers=buffers)
        self.send_message(message)
        return message

    def send_message(self, message: Message) -> None:
        """Send a message that is ready."""
        frame = encode_v1(message) if self.protocol == V1_PROTOCOL else encode_legacy(message)
        if isinstance(frame, bytes):
            self.socket.send_binary(frame)
        else:
            self.socket.send(frame)

    def execute(self, code: str, **content: Any) -> Message:
        """Send an execute_request."""
        silent = {"silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False, "stop_on_error": True}
        return self.send("shell", "execute_request", {"code": code, **silent, **content})

    def receive(self, timeout: float = 30) -> Message:
        """Return the next message; a closed socket and the end of the time are errors."""
        self.socket.settimeout(timeout)
        frame = self.socket.recv()
        assert frame, "the server closed the websocket"
        return decode(frame, self.protocol)

    def round_trip(self, timeout: float = 10) -> None:
        """Send a ping and wait for its pong, where nothing else is to come."""
        self.socket.settimeout(timeout)
        self.socket.ping()
        opcode, _ = self.socket.recv_data(control_frame=True)
        assert opcode == websocket.ABNF.OPCODE_PONG, opcode

    def wait_closed(self, timeout: float = 10) -> int | None:
        """Skip everything up to the closing frame and return its code; nothing where the server just went away."""
        self.socket.settimeout(timeout)
        while True:
            try:
                opcode, data = self.socket.recv_data(control_frame=True)
            except websocket.WebSocketConnectionClosedException:
                return None
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(data[:2]) or None

    def messages(self, timeout: float = 30) -> Iterator[Message]:
        """Yield messages until the time is over."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            yield self.receive(left)
        raise TimeoutError(f"not within {timeout} s")

    def wait_for(self, wanted: Callable[[Message], bool], timeout: float = 30) -> Message:
        """Return the first message that is wanted."""
        return next(message for message in self.messages(timeout) if wanted(message))

    def until(self, wanted: Callable[[Message], bool], timeout: float = 30) -> Iterator[Message]:
        """Yield messages up to the first that is wanted, with it."""
        for message in self.messages(timeout):
            yield message
            if wanted(message):
                return

    def collect(self, sent: Message, timeout: float = 30) -> list[Message]:
        """Return everything that answers a request, up to both its reply and its idle status."""
        answers: list[Message] = []
        replied = idle = False
        for message in self.messages(timeout):
            if message.parent != sent.id:
                continue
            answers.append(message)
            replied |= message.type.endswith("_reply")
            idle |= message.type == "status" and message.content["execution_state"] == "idle"
            if replied and idle:
                break
        return answers

    def run(self, code: str, timeout: float = 30, **content: Any) -> list[Message]:
        """Execute code and return all its messages."""
        return self.collect(self.execute(code, **content), timeout)
