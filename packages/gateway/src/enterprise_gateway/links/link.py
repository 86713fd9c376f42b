"""The gateway's one connection to a kernel: what the kernel says arrives once, whoever listens.

A message from a kernel is checked, its headers are read, it gets its place in the kernel's log, and every cursor that has
read up to there passes it on. Replies and requests for input go to the session that asked; its request is remembered by
its `msg_id`. How many clients there are costs the kernel nothing.

Nobody's slowness holds up anybody else. While at least one connected client keeps up, the others fall behind in the log.
When all of them are behind by more than a bound, the gateway stops reading the kernel's output: ZeroMQ's own queue holds a
few messages, the rest waits in TCP and in the kernel.
"""

import asyncio
import logging
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum, auto
from functools import partial
from typing import Any, Literal, Protocol

import zmq
from jupyter_client.session import Session

from enterprise_gateway.errors import GatewayError
from enterprise_gateway.links import adaptation, notices
from enterprise_gateway.links.channel_socket import ChannelSocket
from enterprise_gateway.links.cursor import Cursor
from enterprise_gateway.links.messages import KernelMessage, MalformedMessage
from enterprise_gateway.links.options import LinkOptions
from enterprise_gateway.links.requests import HeldMessage, KernelDoesNotRead, LinkRequests
from enterprise_gateway.links.signing import InvalidSignature, open_signed, sign
from enterprise_gateway.links.sockets import ChannelName, KernelSockets
from enterprise_gateway_common.executions.recorder import ExecutionRecorder
from enterprise_gateway_common.kernel_messages.error_replies import DEAD_KERNEL
from enterprise_gateway_common.message_log import MessageLog

__all__ = ["KernelLink", "LinkDropReason", "LinkMetrics", "Observer"]

_log = logging.getLogger(__name__)

Observer = Callable[[KernelMessage], None]
"""Told of every message of a kernel, in the event loop; must not block."""

LinkDropReason = Literal["malformed_from_kernel", "invalid_signature", "log_full", "kernel_gone", "too_large_for_client"]

# libzmq bounds its queues by the number of messages, whatever their size, and ipykernel joins a loop's output to messages
# of several MB. Few messages in libzmq's queue leave the rest in TCP's buffers, which are bounded in bytes, and in the
# kernel's own queue of 1,000 messages; the kernel drops output only when that is full as well. A single one would be
# fewer still, but then libzmq's thread waits after each message to be woken, and a cell's output is several.
_RECEIVE_HIGH_WATER = 8
_SEND_HIGH_WATER = 64

_RESTARTED = "The kernel was restarted."
_SHUT_DOWN = "The kernel was shut down."

_WELCOME_PREFIX = b"enterprise-gateway.welcome."

# Sessions of pages that were loaded again never come back, and what they haven't read stays in the log.
_MOST_ABSENT = 8
# What every session has received is kept up to here, so that the log isn't trimmed with each message.
_SPARE_BYTES = 1 << 20

_FIRST_PATIENCE_SECONDS = 1.0
_LONGEST_PATIENCE_SECONDS = 8.0
# The first question is often a few milliseconds too early for its answer's state to be heard.
_FIRST_OUTPUT_INTERVAL = 0.02
_LONGEST_OUTPUT_INTERVAL = 0.5
_OUTPUT_SECONDS = 10.0
_WELCOME_SECONDS = 1.0


class LinkState(Enum):
    """What a link does with a client's message."""

    NEW = auto()
    """Its kernel was never reached."""
    CONNECTED = auto()
    """Sends it to the kernel."""
    RESTARTING = auto()
    """Holds it for the kernel that is to come."""
    ENDED = auto()
    """Answers that the kernel is dead."""


class LinkMetrics(Protocol):
    """Counts what happens on all links."""

    def log_bytes(self, change: int) -> None:
        """Add to the number of bytes that are kept in logs."""

    def dropped(self, reason: LinkDropReason) -> None:
        """Count a message that was not passed on."""


class KernelLink:
    """Carries messages between one kernel and all sessions, and keeps the kernel's log.

    Parameters
    ----------
    kernel_id
        The kernel, for what is logged.
    context
        ZeroMQ context of its sockets.
    session
        Returns who signs and checks messages with the kernel's key.
    options, metrics
        Limits, and who counts.
    executions
        Records what the kernel runs; without it nothing is recorded.
    """

    def __init__(
        self,
        *,
        kernel_id: str,
        context: zmq.Context[zmq.Socket[bytes]],
        session: Callable[[], Session],
        options: LinkOptions,
        metrics: LinkMetrics,
        executions: ExecutionRecorder | None = None,
    ) -> None:
        self._kernel_id = kernel_id
        self._session = session
        self._options = options
        self._metrics = metrics
        self._addresses = KernelSockets(context=context)
        self._sockets: dict[ChannelName, ChannelSocket] = {}
        self._identity = b""
        self._welcome = b""
        self._heard = asyncio.Event()  # means: output arrives from the kernel as it runs now
        self._answers: set[asyncio.Future[dict[str, Any]]] = set()
        self._requests = LinkRequests(most_held_bytes=options.max_message_bytes)
        self._state = LinkState.NEW
        self._death = _SHUT_DOWN
        self._observers: list[Observer] = []
        self._cursors: OrderedDict[str, Cursor] = OrderedDict()
        self._attached: dict[Cursor, None] = {}
        self._behind: dict[Cursor, None] = {}
        self._reading = True
        self._trim_at = _SPARE_BYTES
        self._closed = False
        self._complained: set[str] = set()
        self.executions = executions or ExecutionRecorder(max_executions=0, max_bytes=0)
        self.log: MessageLog[KernelMessage] = MessageLog(
            max_bytes=options.log_bytes,
            max_messages=options.log_messages,
            changed=metrics.log_bytes,
            dropped=lambda: metrics.dropped("log_full"),
        )

    # ------------------------------------------------------------------------------------------------------- connecting

    def connect(self, info: Mapping[str, Any]) -> None:
        """Reach the kernel where its connection information says.

        Raises
        ------
        Unavailable
            This process can't have another connection.
        """
        self.drain()
        self.disconnect()
        self._heard.clear()
        self._addresses.update(info)
        if self._state is LinkState.NEW:
            self._state = LinkState.CONNECTED
        # The kernel's router refuses an identity that is taken, be it by another replica or by a connection that it
        # doesn't know to be lost. And it asks for input on the channel `stdin` whom it knows by its requests on `shell`.
        self._identity = uuid.uuid4().hex.encode()
        self._welcome = _WELCOME_PREFIX + self._identity
        # Before `shell`, whose first answer then says that these have had their time too: a request for input that finds
        # nobody connected is lost, and its cell waits for ever.
        self._open("stdin")
        self._open("iopub")

    def _open(self, channel: ChannelName) -> ChannelSocket:
        socket = self._addresses.open(channel, self._identity)
        # Taken over by connections that exist already.
        socket.rcvhwm, socket.sndhwm = _RECEIVE_HIGH_WATER, _SEND_HIGH_WATER
        if channel == "iopub":
            # A kernel of protocol 5.5 welcomes each new topic. Nobody else has this one, and it stands behind the
            # subscription to everything: its welcome proves that output arrives from then on.
            socket.subscribe(self._welcome)
        opened = self._sockets[channel] = ChannelSocket(socket=socket, received=partial(self._received, channel))
        if not self._reading:
            opened.read(False)
        return opened

    def disconnect(self) -> None:
        """Close the connection; the log and its cursors stay."""
        while self._sockets:
            self._sockets.popitem()[1].close()

    def close(self) -> None:
        """Disconnect for good; what connected clients haven't got yet stays until they have. May be called twice."""
        self._closed = True
        self.disconnect()
        self._observers.clear()
        self.executions.clear()
        for cursor in [cursor for cursor in self._cursors.values() if not cursor.attached]:
            del self._cursors[cursor.session_id]
        self._bound()

    @property
    def was_connected(self) -> bool:
        """Whether the kernel was ever reached."""
        return self._state is not LinkState.NEW

    @property
    def curve(self) -> bool:
        """Whether CURVE authenticates the connection, so that signatures from the kernel add nothing."""
        return self._addresses.curve

    @property
    def session(self) -> Session:
        """Signs and checks messages with the kernel's key."""
        return self._session()

    def observe(self, observer: Observer) -> None:
        """Tell somebody of every message from now on, until the link is closed."""
        self._observers.append(observer)

    # -------------------------------------------------------------------------------------------------------- receiving

    def _received(self, channel: ChannelName, frames: list[bytes]) -> None:
        if frames[0].startswith(_WELCOME_PREFIX):
            # Welcomes go to everybody who listens; they mean something to one link and nothing to any client.
            if frames[0] == self._welcome:
                self._heard.set()
            return
        session = self._session()
        try:
            parts = open_signed(frames, session, trusted=self.curve)
            if adaptation.is_needed(session):
                parts = adaptation.from_kernel(parts, session)
            message = KernelMessage(channel, parts)
            _, parent = message.header, message.parent
        except InvalidSignature:
            self._metrics.dropped("invalid_signature")
            self._complain("A message was dropped that isn't signed with its kernel's key")
            return
        except MalformedMessage as error:
            self._metrics.dropped("malformed_from_kernel")
            self._complain("A message from a kernel was dropped", cause=str(error))
            return
        if channel == "iopub":
            self._heard.set()
        elif parent.session == session.session:
            self._answered(message)
            return
        else:
            message.recipient = self._requests.recipient(message)
        self._requests.seen(message)
        self.append(message)

    def append(self, message: KernelMessage) -> None:
        """Give a message its place in the log and pass it on; the kernel's own, or one that the gateway adds."""
        for observer in self._observers:
            observer(message)
        parent = message.parent
        self.executions.seen(
            message.channel,
            message.header.msg_type,
            parent_id=parent.msg_id,
            parent_type=parent.msg_type,
            content=message.parts[3],
            by_kernel=not message.by_gateway,
        )
        position = self.log.append(message)
        behind = self.log.end
        if len(self._attached) > 1:
            message.share_frames()
        for cursor in tuple(self._attached):
            cursor.appended(message, position, behind)
        message.drop_frames()
        self._bound()

    def drain(self) -> None:
        """Take in what has already arrived."""
        for socket in list(self._sockets.values()):
            socket.drain()

    # ------------------------------------------------------------------------------------------------------------ bounds

    def _bound(self) -> None:
        """Keep the log within its bounds, and the kernel from saying more than anybody takes."""
        leaders = self._behind if len(self._behind) == len(self._attached) else {}
        read_up_to = max((cursor.position for cursor in leaders), default=self.log.end)
        # A kernel that is being restarted has to answer the gateway, however little its clients take.
        answers_gateway = self._state is LinkState.RESTARTING
        # What the fastest client is yet to get is bounded by not reading more; what only slower ones miss is dropped.
        self.log.enforce(before=self.log.end if answers_gateway else read_up_to)
        ahead = self.log.end.offset - read_up_to.offset
        limit = self._options.read_ahead_bytes
        self._read(answers_gateway or ahead <= (limit if self._reading else limit // 2))
        if self._closed or self.log.size > self._trim_at:
            self._trim()

    def _trim(self) -> None:
        self.log.forget_before(min((cursor.needed_from for cursor in self._cursors.values()), default=self.log.end))
        self._trim_at = _SPARE_BYTES + self.log.size

    def _read(self, wanted: bool) -> None:  # noqa: FBT001 - a switch
        if wanted != self._reading:
            self._reading = wanted
            # All channels: a reply that overtook its output would end a cell whose lines are still to come.
            for socket in list(self._sockets.values()):
                socket.read(wanted)

    # ----------------------------------------------------------------------------------------------------------- cursors

    def cursor(self, session_id: str) -> Cursor:
        """Return a session's place in the log: where it left, or the end for one that is new.

        A new session ends the wait for those that are away longest where many are. One that comes back ends none, because
        after a failure of the network all clients come back.
        """
        cursor = self._cursors.get(session_id)
        if cursor is None:
            absent = [session_id for session_id, cursor in self._cursors.items() if not cursor.attached]
            for gone in absent[:-_MOST_ABSENT]:
                del self._cursors[gone]
            cursor = self._cursors[session_id] = Cursor(link=self, session_id=session_id, position=self.log.end)
        return cursor

    @property
    def absent(self) -> int:
        """How many sessions are away whose place is kept."""
        return len(self._cursors) - len(self._attached)

    @property
    def delivering(self) -> bool:
        """Whether a connected client is yet to be given something that the kernel said."""
        return bool(self._behind)

    def cursor_attached(self, cursor: Cursor) -> None:
        """Note that a session's client is connected."""
        self._attached[cursor] = None

    def cursor_detached(self, cursor: Cursor) -> None:
        """Note that it isn't any more."""
        self._attached.pop(cursor, None)
        self._behind.pop(cursor, None)
        if cursor.session_id in self._cursors:
            self._cursors.move_to_end(cursor.session_id)
        comes_back = self._options.keeps_absent and self._state is not LinkState.ENDED
        if not comes_back and self._cursors.get(cursor.session_id) is cursor:
            del self._cursors[cursor.session_id]
        self._bound()

    def cursor_fell_behind(self, cursor: Cursor) -> None:
        """Note that a client doesn't take all that is said as it is said."""
        self._behind[cursor] = None

    def cursor_advanced(self, cursor: Cursor, *, caught_up: bool) -> None:
        """Note that a client took more."""
        if caught_up:
            self._behind.pop(cursor, None)
        else:
            self._behind[cursor] = None
        self._bound()

    def gave_up(self, message: KernelMessage) -> None:
        """Note that a client lost its connection over a message twice, so that it gets something else in its place."""
        self._metrics.dropped("too_large_for_client")
        fields = {"kernel_id": self._kernel_id, "bytes": message.size}
        _log.warning("A message was dropped: its client lost the connection over it twice", extra=fields)

    # ----------------------------------------------------------------------------------------------------------- sending

    def send(self, message: HeldMessage) -> bool:
        """Send a client's message, or hold it while the kernel is being restarted; tell whether there is a kernel for it.

        Raises
        ------
        KernelDoesNotRead
            Too much waits for the kernel already.
        MalformedMessage
            The version of the protocol that the kernel speaks has no such message.
        Unavailable
            This process can't have another connection.
        """
        if self._state is LinkState.RESTARTING:
            self._requests.hold(message)
            self._record(message)
            return True
        if not self._sockets:
            self._requests.sent(message)
            self._record(message)
            self._answer_all(self._death)
            return False
        self._transmit(message)
        self._record(message)
        return True

    def _record(self, message: HeldMessage) -> None:
        _, _, metadata, content, *_ = message.parts
        self.executions.requested(message.header.msg_type, message.header.msg_id, content=content, metadata=metadata)

    def _transmit(self, message: HeldMessage) -> None:
        session, parts = self._session(), message.parts
        if adaptation.is_needed(session):
            parts = adaptation.to_kernel(parts, session)
        socket = self._opened(message.channel)
        if socket.backlog > self._options.max_message_bytes:
            raise KernelDoesNotRead
        self._requests.sent(message)
        socket.send(sign(parts, session))

    def _opened(self, channel: ChannelName) -> ChannelSocket:
        return self._sockets.get(channel) or self._open(channel)

    # --------------------------------------------------------------------------------------------------------- questions

    async def ask_kernel_info(self, *, again: bool = True) -> dict[str, Any]:
        """Return the content of the kernel's kernel_info_reply as soon as there is one; the caller sets the deadline.

        The version of the protocol that the kernel speaks is made the session's.

        Parameters
        ----------
        again
            Whether to repeat the question. A kernel that runs a cell answers all of them when it is done.

        Raises
        ------
        Unavailable
            This process can't have another connection.
        """
        with self._answer_expected() as (answer, ask):
            # A question may get lost while a kernel begins to listen. One that is slow answers all of them in the end, and
            # every answer is two messages to every client: so they become rare.
            patience = _FIRST_PATIENCE_SECONDS
            while not answer.done():
                ask()
                await asyncio.wait([answer], timeout=patience if again else None)
                patience = min(2 * patience, _LONGEST_PATIENCE_SECONDS)
        content = answer.result()
        major = str(content.get("protocol_version", "")).partition(".")[0]
        if major.isdecimal():
            self._session().adapt_version = int(major)
        return content

    async def output_arrives(self, *, ask: bool) -> None:
        """Return when the kernel's output is known to arrive, or after a while in which it couldn't be proved.

        A subscription takes a moment to reach the kernel; what is published before that is lost. A kernel of protocol 5.5
        welcomes it; of others, output proves it.

        Parameters
        ----------
        ask
            Whether to make the kernel say something. One that runs a cell isn't asked: its answer would come after that.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (_OUTPUT_SECONDS if ask else _WELCOME_SECONDS)
        interval = _FIRST_OUTPUT_INTERVAL
        while not self._heard.is_set() and (left := deadline - loop.time()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(interval, left) if ask else left):
                    await self._heard.wait()
                    return
            if ask:
                with self._answer_expected() as (_, ask_now):
                    ask_now()
            interval = min(2 * interval, _LONGEST_OUTPUT_INTERVAL)

    @contextmanager
    def _answer_expected(self) -> Iterator[tuple[asyncio.Future[dict[str, Any]], Callable[[], None]]]:
        """Give what becomes the content of the next answer to a question of the gateway's own, and what sends the question."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers.add(answer)

        def ask() -> None:
            session = self._session()
            self._opened("shell").send(session.serialize(session.msg("kernel_info_request")))

        try:
            yield answer, ask
        finally:
            self._answers.discard(answer)

    def _answered(self, message: KernelMessage) -> None:
        if message.header.msg_type != "kernel_info_reply":
            return
        try:
            content = self._session().unpack(message.parts[3])
        except ValueError:
            self._complain("A message from a kernel was dropped", cause="its content is no JSON")
            return
        for answer in self._answers:
            if not answer.done() and isinstance(content, dict):
                answer.set_result(content)

    # ------------------------------------------------------------------------------------------- what becomes of the kernel

    def restarting(self, reason: str | None) -> None:
        """Answer what the kernel can't any more, behind everything that it still said; tell the clients why it died.

        A restart that was asked for is told to nobody: to clients the status means that the kernel died.
        """
        self._end(reason or _RESTARTED)
        self._state = LinkState.RESTARTING
        if reason is not None:
            self._announce("restarting", reason)
        self._bound()

    def restarted(self) -> None:
        """Send what clients sent while the kernel, which answers by now, was being restarted."""
        self._state = LinkState.CONNECTED
        self._bound()
        for message in self._requests.release():
            try:
                self._transmit(message)
            except (KernelDoesNotRead, MalformedMessage, GatewayError) as error:
                self._metrics.dropped("kernel_gone")
                self._complain("A client's message was dropped after a restart", cause=str(error) or "the kernel doesn't read")

    def dead(self, reason: str | None) -> None:
        """Answer every request that is open or comes, and tell the clients why, behind everything that the kernel still said."""
        self._death = reason or _SHUT_DOWN
        self._state = LinkState.ENDED
        for message in self._requests.release():
            self._requests.sent(message)
        self._end(self._death)
        self._announce("dead", reason)

    def _end(self, cause: str) -> None:
        self.drain()
        self._answer_all(cause)
        # Those that were asked for by other ways than this link: clients of other replicas have their answers from there.
        self.executions.kernel_ended(DEAD_KERNEL, cause)
        # At once: what ZeroMQ has still to send would go to the next process, and be answered once more.
        self.disconnect()

    def _answer_all(self, cause: str) -> None:
        """Give every request that is open an error that names the cause, and idle: without them its client waits for ever."""
        for message in self._requests.answer_all(cause, self._session()):
            self.append(message)

    def _announce(self, state: str, reason: str | None) -> None:
        if reason:
            self.append(notices.stderr(reason, session=self._session()))
        self.append(notices.status(state, session=self._session()))

    def _complain(self, what: str, **fields: str) -> None:
        """Log once for this link: who can make one such message can make millions."""
        if what not in self._complained:
            self._complained.add(what)
            _log.warning(what, extra={"kernel_id": self._kernel_id, **fields})
