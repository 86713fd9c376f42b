"""One request to a port of a kernel's pod, and its answer as it arrives.

The connection is made to an address that the gateway knows: no text of a client's is taken for a URL, so none chooses another
host. A piece of the answer is read when the one before it was taken: a client that reads slowly slows the kernel, and fills no
memory.
"""

import asyncio
import base64
import hashlib
import logging
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream, StreamClosedError

from enterprise_gateway.errors import PortTimeout, PortUnreachable
from enterprise_gateway.kernels.ports import KernelPort

__all__ = ["BrokenOff", "ExchangeOptions", "PortRequest", "Receiver", "Upgraded", "exchange"]

_log = logging.getLogger(__name__)

_CONNECT_SECONDS = 5.0
_PIECE = 64 * 1024
# A body isn't kept, so it may be of any length.
_ANY_LENGTH = 2**62
_SWITCHING, _LOWEST_FINAL = 101, 200
_WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True, kw_only=True)
class ExchangeOptions:
    """Bounds of one exchange."""

    timeout: float
    """Seconds until the answer begins, and from then on until each piece of it was sent and taken."""
    max_header_size: int


class PortRequest(NamedTuple):
    """What a port is asked."""

    method: str
    target: str
    """Path and query, as they go over the wire."""
    headers: HTTPHeaders
    body: bytes = b""

    @property
    def wants_websocket(self) -> bool:
        """Whether it asks for one."""
        return "Sec-WebSocket-Key" in self.headers


class Receiver(Protocol):
    """Takes an answer."""

    async def begin(self, status: int, headers: HTTPHeaders) -> None:
        """Take status and headers."""

    async def take(self, piece: bytes) -> None:
        """Take a piece of the body; return when the next one may come."""


class Upgraded(NamedTuple):
    """A connection that has become a websocket's."""

    stream: IOStream
    headers: HTTPHeaders


class BrokenOff(Exception):
    """The answer ended in its middle, after its receiver had begun to take it."""


async def exchange(port: KernelPort, request: PortRequest, *, receiver: Receiver, options: ExchangeOptions) -> Upgraded | None:
    """Return when the whole answer was taken, or the connection if it has become a websocket's, for its caller to close.

    Raises
    ------
    PortUnreachable
        Nothing listens there, or what answers isn't HTTP.
    PortTimeout
        It doesn't answer in time.
    BrokenOff
        It stopped in the middle of its answer.
    """
    stream = IOStream(
        socket.socket(socket.AF_INET6 if ":" in port.address else socket.AF_INET),
        max_buffer_size=4 * _PIECE + options.max_header_size,
    )
    upgraded = None
    try:
        await _connect(stream, port)
        upgraded = await _Conversation(stream, port, request, receiver, options).hold()
        return upgraded
    finally:
        if upgraded is None:
            stream.close()


async def _connect(stream: IOStream, port: KernelPort) -> None:
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await stream.connect((port.address, port.port))
    except TimeoutError as error:
        raise PortTimeout(
            f"Port {port.port} of kernel {port.kernel_id} couldn't be reached within {_CONNECT_SECONDS:g} s. A NetworkPolicy may "
            "forbid it."
        ) from error
    except (StreamClosedError, OSError) as error:
        raise PortUnreachable(
            f"Nothing listens at port {port.port} of kernel {port.kernel_id}. Start in the kernel what is to be seen there, "
            "and have it listen on all addresses, not on localhost."
        ) from error


class _Conversation(HTTPMessageDelegate):
    """Asks, and hands the answer on. Nothing that it is called with may raise: tornado would log it and hide it."""

    def __init__(
        self, stream: IOStream, port: KernelPort, request: PortRequest, receiver: Receiver, options: ExchangeOptions
    ) -> None:
        self._port, self._request, self._receiver, self._options = port, request, receiver, options
        parameters = HTTP1ConnectionParameters(
            no_keep_alive=True, chunk_size=_PIECE, max_header_size=options.max_header_size, max_body_size=_ANY_LENGTH
        )
        self._connection = HTTP1Connection(stream, is_client=True, params=parameters)
        self._begun = self._finished = False
        self._failure: BaseException | None = None
        self._upgraded: Upgraded | None = None

    async def hold(self) -> Upgraded | None:
        method, target, headers, body = self._request
        try:
            async with asyncio.timeout(self._options.timeout) as self._deadline:
                with suppress(StreamClosedError):
                    # Not waited for: an answer may come before the whole request was read.
                    self._connection.write_headers(RequestStartLine(method, target, ""), headers, body)
                    self._connection.finish()
                    await self._connection.read_response(self)
                if self._failure is not None:
                    raise self._failure
        except TimeoutError as error:
            if self._begun:
                raise BrokenOff from error
            seconds = self._options.timeout
            raise PortTimeout(
                f"Port {self._port.port} of kernel {self._port.kernel_id} didn't answer within {seconds:g} s."
            ) from error
        if self._upgraded is None and not self._finished:
            if self._begun:
                raise BrokenOff
            raise self._no_http()
        return self._upgraded

    def _no_http(self) -> PortUnreachable:
        return PortUnreachable(
            f"Port {self._port.port} of kernel {self._port.kernel_id} doesn't answer as an HTTP server does, or with headers of "
            f"more than {self._options.max_header_size} bytes."
        )

    def _go_on(self) -> None:
        self._deadline.reschedule(asyncio.get_running_loop().time() + self._options.timeout)

    def _give_up(self, failure: BaseException) -> None:
        self._failure = failure
        self._connection.close()

    async def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        if not isinstance(start_line, ResponseStartLine):
            raise TypeError("a server answers with a status")
        # What was read before the connection was closed still comes.
        if self._failure is not None:
            return
        if start_line.code == _SWITCHING:
            self._upgrade(headers)
        elif start_line.code >= _LOWEST_FINAL:
            self._begun = True
            try:
                await self._receiver.begin(start_line.code, headers)
                self._go_on()
            except BaseException as failure:  # raised again where tornado doesn't see it
                self._give_up(failure)

    def _upgrade(self, headers: HTTPHeaders) -> None:
        # What only says that it is a websocket could write what it likes to a connection that proxies take for one.
        key = self._request.headers.get("Sec-WebSocket-Key", "")
        proof = base64.b64encode(hashlib.sha1((key + _WEBSOCKET_GUID).encode(), usedforsecurity=False).digest()).decode()
        agreed = headers.get("Upgrade", "").lower() == "websocket" and headers.get("Sec-WebSocket-Accept") == proof
        if not self._request.wants_websocket or not agreed:
            self._give_up(self._no_http())
            return
        self._upgraded = Upgraded(self._connection.detach(), headers)

    async def data_received(self, chunk: bytes) -> None:
        if self._failure is not None:
            return
        try:
            self._go_on()
            await self._receiver.take(chunk)
            self._go_on()
        except BaseException as failure:
            self._give_up(failure)

    def finish(self) -> None:
        self._finished = True
