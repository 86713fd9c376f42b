"""The way of a kernel's messages into one client's connection."""

import logging
from asyncio import Future
from collections.abc import Callable, Mapping
from typing import Protocol

from jupyter_client.session import Session
from tornado.websocket import WebSocketClosedError

from enterprise_gateway.links import notices
from enterprise_gateway.links.messages import Encoder, KernelMessage, MalformedMessage
from enterprise_gateway.websocket.delivery import Delivery, InFlight
from enterprise_gateway.websocket.kernel import WebsocketMetrics
from enterprise_gateway.websocket.options import WebsocketOptions
from enterprise_gateway.websocket.rate_limit import RateLimit
from enterprise_gateway.websocket.tracebacks import hide_traceback
from enterprise_gateway_common.message_log import Gap, Position

__all__ = ["ClientOutlet", "FrameWriter"]

_log = logging.getLogger(__name__)

# Asking the operating system what has arrived costs a system call, so it isn't done for each message.
_ASK_AFTER_MESSAGES = 64


class FrameWriter(Protocol):
    """Writes one frame; what it returns is done when the frame was handed to the operating system."""

    def __call__(self, message: bytes, binary: bool) -> Future[None]:  # noqa: FBT001 - tornado's signature
        """Write; raises `WebSocketClosedError`."""


class ClientOutlet:
    """Writes messages into a connection, tells when it has enough, and remembers from where on they may not have arrived.

    Parameters
    ----------
    write
        Writes a frame.
    encode
        Makes a frame of a message, in the connection's subprotocol.
    delivery
        Counts the connection's bytes.
    session
        Makes the gateway's own messages.
    options, metrics
        Limits, and who counts.
    rate_limit
        Decides about each message of output.
    resumed
        Told when the outlet becomes ready again.
    taken_over
        Told when another replica has the session.
    fields
        What log lines tell beside their words: which kernel it is.
    """

    def __init__(  # noqa: PLR0913  wiring: every part is given by its name
        self,
        *,
        write: FrameWriter,
        encode: Encoder,
        delivery: Delivery,
        session: Session,
        options: WebsocketOptions,
        metrics: WebsocketMetrics,
        rate_limit: RateLimit,
        resumed: Callable[[], None],
        taken_over: Callable[[], None],
        fields: Mapping[str, str],
    ) -> None:
        self._fields = fields
        self._write = write
        self._encode = encode
        self._delivery = delivery
        self._session = session
        self._options = options
        self._metrics = metrics
        self._rate_limit = rate_limit
        self._resumed = resumed
        self.taken_over = taken_over
        self._in_flight = InFlight()
        self._full = False
        self._closed = False
        self._complained = False

    @property
    def ready(self) -> bool:
        """Whether more may be delivered now."""
        return not (self._full or self._closed)

    def deliver(self, message: KernelMessage, position: Position) -> None:
        """Write a message, unless a limit says otherwise; never fails."""
        try:
            verdict = self._rate_limit.check(message)
            if verdict.notice is not None:
                _log.warning("A client's output is being dropped: its rate exceeds the limit", extra=self._fields)
                self._send(notices.stderr(verdict.notice, session=self._session, parent=message.parent_header), position)
            if not verdict.passes:
                self._metrics.dropped("rate_limit")
                return
            if not self._options.allow_tracebacks:
                replacement = self._options.traceback_replacement_message
                message = hide_traceback(message, session=self._session, replacement=replacement)
            self._send(message, position)
        except MalformedMessage as error:
            self._metrics.dropped("malformed_from_kernel")
            if not self._complained:
                self._complained = True
                _log.warning("A message from a kernel was dropped", extra={**self._fields, "cause": str(error)})

    def deliver_gap(self, gap: Gap) -> None:
        """Write a line that says what is missing."""
        text = f"[{gap.messages} messages ({gap.size} bytes) of output were dropped while the connection was lost]"
        self._send(notices.stderr(text, session=self._session, parent=gap.parent_header), gap.start)

    def _send(self, message: KernelMessage, position: Position) -> None:
        frame, binary = message.frame(self._encode)
        try:
            written = self._write(frame, binary)
        except WebSocketClosedError:
            self._closed = True
            self._in_flight.add(position, None)
            return
        # Before anything else: the largest messages must not be held once more than needed.
        del frame
        self._metrics.message("to_client", message.channel)
        self._in_flight.add(position, self._delivery.written)
        if len(self._in_flight) > _ASK_AFTER_MESSAGES:
            self._in_flight.forget(self._delivery.received())
        self._full = self._delivery.unsent > self._options.outbound_bytes
        written.add_done_callback(self._flushed)

    def _flushed(self, written: Future[None]) -> None:
        if written.cancelled() or written.exception() is not None:
            self._closed = True
        elif self._full and self._delivery.unsent <= self._options.outbound_bytes // 2:
            self._full = False
            self._resumed()

    def stop(self) -> None:
        """Take no more messages."""
        self._closed = True

    def undelivered_from(self) -> Position | None:
        """Return where the first message stands that the client hasn't received, as far as it is known; none where it has all."""
        return self._in_flight.first_undelivered(self._delivery.received())
