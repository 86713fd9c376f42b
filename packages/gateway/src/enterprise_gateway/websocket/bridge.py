"""The flow of messages between one kernel and one session; it outlives the session's connections.

A bridge owns the session's sockets to the kernel. While a client is attached, it passes on what arrives as fast as the
client takes it and stops reading the sockets when the client falls behind. While none is attached, it keeps what arrives
within the bounds of its buffer. So a client that comes back needs no special path: its outlet is attached, the buffer
runs out through it, and the sockets follow.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from enterprise_gateway.kernels.channel_socket import ChannelSocket
from enterprise_gateway.websocket import adaptation, notices
from enterprise_gateway.websocket.kernel import CHANNELS, ChannelName, KernelChannels, WebsocketMetrics
from enterprise_gateway.websocket.messages import ClientMessage, Gap, Item, KernelMessage, MalformedMessage
from enterprise_gateway.websocket.nudge import nudge
from enterprise_gateway.websocket.options import WebsocketOptions
from enterprise_gateway.websocket.repeated_loss import RepeatedLoss
from enterprise_gateway.websocket.replay_buffer import ReplayBuffer
from enterprise_gateway.websocket.session_requests import HeldMessage, KernelDoesNotRead, SessionRequests
from enterprise_gateway.websocket.signing import InvalidSignature, open_signed, sign

__all__ = ["Bridge", "Outlet", "SessionKey"]

_log = logging.getLogger(__name__)

SessionKey = tuple[str, str]
"""Id of the kernel, id of the client's session."""

# libzmq bounds its queues by the number of messages, whatever their size, and ipykernel joins a loop's output to messages
# of several MB. Few messages in libzmq's queue leave the rest in TCP's buffers, which are bounded in bytes, and in the
# kernel's own queue of 1,000 messages; the kernel drops output only when that is full as well. A single one would be
# fewer still, but then libzmq's thread waits after each message to be woken, and a cell's output is several.
_RECEIVE_HIGH_WATER = 8
_SEND_HIGH_WATER = 64

_WELCOME_PREFIX = b"enterprise-gateway.welcome."

_RESTARTED = "The kernel was restarted."
_SHUT_DOWN = "The kernel was shut down."


class Outlet(Protocol):
    """Takes a kernel's messages to a client."""

    @property
    def ready(self) -> bool:
        """Whether more may be delivered now."""

    def deliver(self, message: KernelMessage) -> None:
        """Take one message; never fails."""


class Bridge:
    """Carries messages between one kernel and one session: to the client once and in order, to the kernel signed.

    Parameters
    ----------
    key
        The kernel and the session.
    kernel
        Where the sockets lead.
    buffer
        Keeps what the client can't be given now.
    options, metrics
        Limits, and who counts.
    forget
        Told when the bridge ended by itself, because the kernel did.
    """

    def __init__(
        self,
        *,
        key: SessionKey,
        kernel: KernelChannels,
        buffer: ReplayBuffer,
        options: WebsocketOptions,
        metrics: WebsocketMetrics,
        forget: Callable[["Bridge"], None],
    ) -> None:
        self.key = key
        self.kernel = kernel
        self.closed = False
        self._buffer = buffer
        self._options = options
        self._metrics = metrics
        self._forget = forget
        # The kernel's router refuses an identity that is taken, be it by another replica or by a connection that it
        # doesn't know to be lost. So it isn't the session's id, which comes back, but unique.
        self._identity = uuid.uuid4().hex.encode()
        self._welcome = _WELCOME_PREFIX + self._identity
        self._sockets: dict[ChannelName, ChannelSocket] = {}
        self._outlet: Outlet | None = None
        self._reading = True
        self._output_seen = asyncio.Event()
        self._nudge: asyncio.Task[bool] | None = None
        self._unlisten: Callable[[], None] | None = None
        self._complained: set[str] = set()
        self._watching = False  # means: the kernel's state is learnt from what this bridge reads
        self._requests = SessionRequests(most_held_bytes=options.max_message_bytes)
        self._losses = RepeatedLoss(dropped=self._gave_up)
        self._restarting = False
        self._death: str | None = None

    # -------------------------------------------------------------------------------------------------------- sockets

    def open(self) -> None:
        """Connect to the kernel and begin to receive."""
        self._unlisten = self.kernel.add_listener(self)
        self._connect()

    def _connect(self) -> None:
        self._reading = True
        for channel in CHANNELS:
            socket = self.kernel.open_socket(channel, self._identity)
            # Taken over by connections that exist already.
            socket.rcvhwm, socket.sndhwm = _RECEIVE_HIGH_WATER, _SEND_HIGH_WATER
            if channel == "iopub":
                # A kernel of protocol 5.5 welcomes each new topic. Nobody else has this one, and it stands behind the
                # subscription to everything: its welcome proves that output arrives from then on.
                socket.subscribe(self._welcome)
            self._sockets[channel] = ChannelSocket(socket=socket, received=partial(self._received, channel))
        self._read(self._outlet is None or self._outlet.ready)
        self._begin_nudge()

    def _disconnect(self) -> None:
        self._end_nudge()
        self._watch(False)
        while self._sockets:
            self._sockets.popitem()[1].close()

    def close(self) -> None:
        """Disconnect from the kernel and forget everything; may be called twice."""
        self.closed = True
        self._disconnect()
        self._buffer.clear()
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None

    # ------------------------------------------------------------------------------------------------------ readiness

    def _begin_nudge(self) -> None:
        self._end_nudge()
        self._watch(False)
        self._output_seen.clear()
        self._nudge = asyncio.create_task(
            nudge(
                self.kernel,
                self._output_seen,
                interval=self._options.nudge_interval,
                timeout=self._options.kernel_info_timeout,
            )
        )
        self._nudge.add_done_callback(self._nudged)

    def _end_nudge(self) -> None:
        if self._nudge is not None:
            self._nudge.cancel()
            self._nudge = None

    def _nudged(self, task: asyncio.Task[bool]) -> None:
        if task.cancelled():
            return
        for message in self._requests.release():
            self._transmit(message)
        if task.exception() is None and task.result() and self._reading and task is self._nudge:
            self._watch(not adaptation.is_needed(self.kernel.session))
        if (error := task.exception()) is not None:
            _log.error("Asking a kernel whether it answers failed", exc_info=error, extra=self._fields)

    def _watch(self, wanted: bool) -> None:  # noqa: FBT001 - a switch
        """Lend the kernel's monitor these eyes, or take them back; only who reads all output as it comes may lend."""
        if wanted and not self._watching:
            self.kernel.output_watched(self)
        elif not wanted and self._watching:
            self.kernel.output_unwatched(self)
        self._watching = wanted

    @property
    def is_connected(self) -> bool:
        """Whether a client's message may be sent at once."""
        return self._nudge is None or self._nudge.done()

    async def connected(self) -> None:
        """Return when the kernel has proved to answer, or there is no more hope of it."""
        while (task := self._nudge) is not None and not task.done():
            await asyncio.wait([task])

    # ------------------------------------------------------------------------------------------------------ to client

    def attach(self, outlet: Outlet) -> None:
        """Give a client everything that waits, and everything that arrives from now on."""
        self._outlet = outlet
        self.resume()

    def detach(self, undelivered: Iterable[Item]) -> None:
        """Keep everything from now on, behind what the client was given and didn't receive."""
        self._outlet = None
        if not self.closed:
            self._buffer.prepend(self._losses.check(undelivered, self.kernel.session))
            self._read(True)

    def _gave_up(self, size: int) -> None:
        self._metrics.dropped("too_large_for_client")
        _log.warning("A message was dropped: its client lost the connection over it twice", extra={**self._fields, "bytes": size})

    @property
    def misses_something(self) -> bool:
        """Whether a client that is away has missed something already, or may yet of a cell that runs."""
        return bool(self._buffer) or self.kernel.execution_state != "idle"

    def resume(self) -> None:
        """Go on after the outlet became ready."""
        outlet = self._outlet
        if outlet is None:
            return
        while outlet.ready and self._buffer:
            item = self._buffer.pop()
            outlet.deliver(
                notices.stderr(str(item), session=self.kernel.session, parent=item.parent) if isinstance(item, Gap) else item
            )
        self._read(outlet.ready)

    def _read(self, wanted: bool) -> None:  # noqa: FBT001 - a switch
        if wanted == self._reading:
            return
        self._reading = wanted
        if not wanted:
            # Not lent again afterwards: what this bridge reads then is old.
            self._watch(False)
        for socket in self._sockets.values():
            socket.read(wanted)

    def _received(self, channel: ChannelName, frames: list[bytes]) -> None:
        if frames[0].startswith(_WELCOME_PREFIX):
            # Welcomes go to everybody who listens; they mean something to one bridge and nothing to any client.
            if frames[0] == self._welcome:
                self._output_seen.set()
            return
        session = self.kernel.session
        try:
            parts = open_signed(frames, session, trusted=self.kernel.curve)
            if adaptation.is_needed(session):
                parts = adaptation.from_kernel(parts, session)
        except InvalidSignature:
            self._metrics.dropped("invalid_signature")
            self._complain("A message was dropped that isn't signed with its kernel's key")
            return
        except MalformedMessage as error:
            self._metrics.dropped("malformed_from_kernel")
            self._complain("A message from a kernel was dropped", cause=str(error))
            return
        if channel == "iopub":
            self._output_seen.set()
            if self._watching:
                self.kernel.output_seen(self, parts)
        if (request_id := self._requests.seen(channel, parts)) is not None:
            self.kernel.reply_seen(request_id)
        self._pass_on(KernelMessage(channel, parts))

    def _pass_on(self, message: KernelMessage) -> None:
        outlet = self._outlet
        if outlet is None or self._buffer or not outlet.ready:
            self._buffer.append(message)
            return
        outlet.deliver(message)
        self._read(outlet.ready)

    # ------------------------------------------------------------------------------------------------------ to kernel

    def send(self, channel: ChannelName, message: ClientMessage) -> bool:
        """Send a client's message, or hold it while the kernel is being restarted; tell whether there is a kernel for it.

        Raises
        ------
        KernelDoesNotRead
            Too much waits for the kernel already.
        MalformedMessage
            It can't be put into the version of the protocol that the kernel speaks.
        """
        session = self.kernel.session
        parts = adaptation.to_kernel(message.parts, session) if adaptation.is_needed(session) else message.parts
        held = HeldMessage(channel, message.header, message.parts[0], parts)
        if self._restarting:
            self._requests.hold(held)
            return True
        if channel not in self._sockets:
            self._requests.sent(held)
            self._answer_all(self._death or _SHUT_DOWN)
            return False
        if self._sockets[channel].backlog > self._options.max_message_bytes:
            raise KernelDoesNotRead
        self._transmit(held)
        return True

    def _transmit(self, message: HeldMessage) -> None:
        self._requests.sent(message)
        self._sockets[message.channel].send(sign(message.parts, self.kernel.session))

    # ------------------------------------------------------------------------------------------------ kernel listener

    def kernel_restarting(self, reason: str | None) -> None:
        """Answer what the kernel can't any more, behind everything that it still said; tell the client why it died.

        A restart that was asked for is told to nobody: to clients the status means that the kernel died.
        """
        self._drain()
        self._answer_all(reason or _RESTARTED)
        # At once: what ZeroMQ has still to send would go to the next process, and be answered once more.
        self._disconnect()
        self._restarting = True
        if reason is not None:
            self._announce("restarting", reason)

    def kernel_restarted(self) -> None:
        """Reach the kernel where it is now."""
        if self.closed:
            return
        self._restarting = False
        self._disconnect()
        self._connect()

    def kernel_dead(self, reason: str | None) -> None:
        """Tell the client, behind everything that the kernel still said; nothing waits for a client that is away."""
        self._drain()
        for message in self._requests.release():
            self._requests.sent(message)
        self._death, self._restarting = reason, False
        self._answer_all(reason or _SHUT_DOWN)
        self._announce("dead", reason)
        self._disconnect()
        self.closed = True
        if self._outlet is None:
            self.close()
            self._forget(self)

    def _answer_all(self, cause: str) -> None:
        """Give every request that is open an error that names the cause, and idle: without them its client waits for ever."""
        for message in self._requests.answer_all(cause, self.kernel.session):
            self._pass_on(message)

    def _announce(self, state: str, reason: str | None) -> None:
        session = self.kernel.session
        if reason:
            self._pass_on(notices.stderr(reason, session=session))
        self._pass_on(notices.status(state, session=session))

    def _drain(self) -> None:
        """Read what has already arrived."""
        for socket in list(self._sockets.values()):
            socket.drain()

    # ----------------------------------------------------------------------------------------------------------- logs

    @property
    def _fields(self) -> dict[str, str]:
        return {"kernel_id": self.key[0]}

    def _complain(self, what: str, **fields: str) -> None:
        """Log once for this bridge: who can make one such message can make millions."""
        if what not in self._complained:
            self._complained.add(what)
            _log.warning(what, extra={**self._fields, **fields})
