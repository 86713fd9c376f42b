"""One client's open websocket: what it sends goes to its kernel's link, what stands in the kernel's log goes to it."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from tornado.iostream import IOStream

from enterprise_gateway.errors import GatewayError
from enterprise_gateway.links.messages import MalformedMessage
from enterprise_gateway.links.requests import HeldMessage, KernelDoesNotRead, TooManyWait
from enterprise_gateway.websocket import legacy_frames, v1_frames
from enterprise_gateway.websocket.connections import OpenConnections, SessionKey
from enterprise_gateway.websocket.delivery import Delivery
from enterprise_gateway.websocket.kernel import ConnectedKernel, DropReason, WebsocketMetrics
from enterprise_gateway.websocket.liveness import Liveness
from enterprise_gateway.websocket.messages import ClientMessage, InvalidFrame
from enterprise_gateway.websocket.options import V1_PROTOCOL, WebsocketOptions
from enterprise_gateway.websocket.outlet import ClientOutlet
from enterprise_gateway.websocket.rate_limit import RateLimit

if TYPE_CHECKING:
    from enterprise_gateway.links.sockets import ChannelName

__all__ = ["ClientSocket", "Connection"]

_log = logging.getLogger(__name__)

# iopub is the kernel's alone.
_TO_KERNEL = frozenset({"shell", "control", "stdin"})

# Systems acknowledge after 40 ms, and 200 at most.
_SETTLE_SECONDS = 0.25
_SETTLE_STEP_SECONDS = 0.005

_REPLACED = 1000
_GOING_AWAY = 1001
_INVALID_PAYLOAD = 1007
_POLICY_VIOLATION = 1008
_TRY_AGAIN_LATER = 1013


class ClientSocket(Protocol):
    """The websocket itself."""

    def write_message(self, message: bytes, binary: bool) -> asyncio.Future[None]:  # noqa: FBT001 - tornado's signature
        """Write a frame; raises `WebSocketClosedError`."""

    def ping(self, data: bytes = b"") -> None:
        """Send a ping; raises `WebSocketClosedError`."""

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Begin to close."""


class Connection:
    """Joins a websocket and a session's cursor, from the opening of the one to its end.

    Parameters
    ----------
    key, kernel
        What the client connected to.
    socket, stream
        The websocket, and the connection below it.
    subprotocol
        What was negotiated.
    options, metrics
        Limits, and who counts.
    connections
        Where the connection is known.
    clock
        Seconds that only go forward.
    """

    def __init__(  # noqa: PLR0913 - everything is injected
        self,
        *,
        key: SessionKey,
        kernel: ConnectedKernel,
        socket: ClientSocket,
        stream: IOStream,
        subprotocol: str | None,
        options: WebsocketOptions,
        metrics: WebsocketMetrics,
        connections: OpenConnections,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key = key
        self._kernel = kernel
        self._socket = socket
        self._options = options
        self._metrics = metrics
        self._connections = connections
        self._clock = clock
        self._delivery = Delivery(stream=stream)
        frames = v1_frames if subprotocol == V1_PROTOCOL else legacy_frames
        self._decode: Callable[[str | bytes], ClientMessage] = frames.decode
        # What an earlier connection of this session didn't deliver must be known before the cursor is taken over.
        stale = connections.add(key, self)
        if isinstance(stale, Connection):
            stale.replaced()
        self._link = kernel.link
        self._cursor = kernel.link.cursor(key[1])
        kernel.client_connected()
        metrics.connection_opened()
        self._outlet = ClientOutlet(
            write=socket.write_message,
            encode=frames.encode,
            delivery=self._delivery,
            session=kernel.link.session,
            options=options,
            metrics=metrics,
            rate_limit=RateLimit(options=options, clock=clock),
            resumed=self._cursor.advance,
            taken_over=self._taken_over,
            fields=self._fields,
        )
        self._liveness = Liveness(
            ping=socket.ping,
            lost=self._lost,
            delivery=self._delivery,
            interval=options.ping_interval,
            timeout=options.pong_timeout,
            clock=clock,
        )
        self._watch = asyncio.create_task(self._liveness.watch()) if options.ping_interval else None
        self._released = False
        self._leaving: asyncio.Future[None] | None = None
        self._complained: set[str] = set()
        self._cursor.attach(self._outlet)

    # ------------------------------------------------------------------------------------------------------ receiving

    def receive(self, frame: str | bytes) -> None:
        """Send what a frame holds to the kernel; whatever it holds, nothing is raised."""
        self._liveness.sign_of_life()
        try:
            message = self._decode(frame)
        except InvalidFrame as error:
            # A client that sends such a thing waits for an answer that can't come. Closing tells it at once.
            self._refuse("malformed_from_client", f"A client's frame is no message: {error}")
            self.close(error.code, str(error))
            return
        if message.channel not in _TO_KERNEL:
            self._refuse("unknown_channel", "A client's message has a channel that doesn't lead to the kernel")
            return
        allowed = self._options.allowed_message_types
        if allowed and message.header.msg_type not in allowed:
            self._refuse("not_allowed", "A client's message has a type that isn't allowed")
            return
        if not self._released:
            self._forward(message)

    def _forward(self, message: ClientMessage) -> None:
        channel = cast("ChannelName", message.channel)
        self._kernel.client_message(message.header.msg_type)
        forwarded = HeldMessage(channel, message.header, message.parts, self._key[1])
        try:
            sent = self._link.send(forwarded)
        except TooManyWait as error:
            self._refuse("waiting_full", "A client sent more than may wait for its kernel, which isn't up yet")
            self._link.refuse(forwarded, str(error))
        except KernelDoesNotRead:
            self._refuse("kernel_gone", "A client sent more than its kernel takes")
            self.close(_POLICY_VIOLATION, "too much waits for the kernel already")
        except MalformedMessage as error:
            self._refuse("malformed_from_client", f"A client's message can't be sent to its kernel: {error}")
            self.close(_INVALID_PAYLOAD, "not a message of this protocol's version")
        except GatewayError as error:
            self._refuse("kernel_gone", f"A client's message can't be sent to its kernel: {error.message}")
            self.close(_TRY_AGAIN_LATER, error.reason)
        else:
            if sent:
                self._metrics.message("to_kernel", channel)
            else:
                self._refuse("kernel_gone", "A client's message was dropped: its kernel is dead")

    def _refuse(self, reason: DropReason, what: str) -> None:
        self._metrics.dropped(reason)
        # Once for this connection and reason, and without content: who sends one such frame may send millions.
        if reason not in self._complained:
            self._complained.add(reason)
            _log.warning(what, extra=self._fields)

    def pong(self) -> None:
        """Note that the client answered a ping."""
        self._liveness.sign_of_life()

    # -------------------------------------------------------------------------------------------------------- the end

    def close(self, code: int, reason: str) -> None:
        """Begin to close the websocket."""
        self._socket.close(code, reason)

    async def give_way(self) -> None:
        """Make room for a newer connection of the same session, once it is clear what this one delivered.

        The other end's TCP may take a moment to acknowledge what its client has long read. Without waiting for that, a
        client that comes back at once would get it twice; a line that is dead costs the whole moment.
        """
        self._outlet.stop()
        deadline = self._clock() + _SETTLE_SECONDS
        while not self._delivery.complete and self._clock() < deadline:  # noqa: ASYNC110 - the operating system tells nobody
            await asyncio.sleep(_SETTLE_STEP_SECONDS)
        self.replaced()

    def _taken_over(self) -> None:
        """Make room for a connection of the same session at another replica, as for one at this one."""
        self._leaving = asyncio.ensure_future(self.give_way())

    def replaced(self) -> None:
        """Make room for a newer connection of the same session at once."""
        if self._released:
            return
        _log.info("A newer websocket of the same session takes over", extra=self._fields)
        self.release()
        self.close(_REPLACED, "replaced by a newer connection of this session")

    def _lost(self) -> None:
        _log.info("A client gave no sign of life any more", extra=self._fields)
        self.close(_GOING_AWAY, "no answer to pings")

    def release(self) -> None:
        """Keep the session's place for when the client comes back; may be called twice."""
        if self._released:
            return
        self._released = True
        if self._watch is not None:
            self._watch.cancel()
        self._connections.remove(self._key, self)
        self._kernel.client_disconnected()
        self._metrics.connection_closed()
        self._outlet.stop()
        undelivered = self._outlet.undelivered_from()
        self._delivery.close(abort=undelivered is not None)
        self._cursor.detach(undelivered)

    @property
    def _fields(self) -> dict[str, str]:
        return {"kernel_id": self._key[0]}
