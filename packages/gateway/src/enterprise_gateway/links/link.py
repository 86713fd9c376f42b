"""The gateway's one connection to a kernel: what the kernel says arrives once, whoever listens.

A message from a kernel is checked, its headers are read, it gets its place in the kernel's log, and every cursor that has
read up to there passes it on. Replies and requests for input go to the session that asked; its request is remembered by
its `msg_id`. How many clients there are costs the kernel nothing.

Nobody's slowness holds up anybody else. While at least one connected client keeps up, the others fall behind in the log.
When all of them are behind by more than a bound, the gateway stops reading the kernel's output: ZeroMQ's own queue holds a
few messages, the rest waits in TCP and in the kernel.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import zmq
from jupyter_client.session import Session

from enterprise_gateway.errors import GatewayError
from enterprise_gateway.launch.supervisor_address import SupervisorAddress
from enterprise_gateway.links import notices
from enterprise_gateway.links.channels import KernelChannels, LinkDropReason, LinkMetrics
from enterprise_gateway.links.cursor import Cursor
from enterprise_gateway.links.history import History, record, record_request
from enterprise_gateway.links.messages import KernelMessage, MalformedMessage, PageItem
from enterprise_gateway.links.options import LinkOptions
from enterprise_gateway.links.questions import KernelQuestions
from enterprise_gateway.links.readers import LogReaders
from enterprise_gateway.links.requests import HeldMessage, KernelDoesNotRead, LinkRequests
from enterprise_gateway.links.start_notices import StartNotices
from enterprise_gateway.links.state import LinkState
from enterprise_gateway.links.supervisor.channels import KernelStatus, KernelUsage, LogFollower, SupervisorChannels
from enterprise_gateway_common.executions.recorder import ExecutionRecorder
from enterprise_gateway_common.kernel_messages.error_replies import DEAD_KERNEL
from enterprise_gateway_common.message_log import MessageLog, Position

__all__ = ["KernelLink", "LinkDropReason", "LinkMetrics", "Observer"]

Observer = Callable[[KernelMessage], None]
"""Told of every message of a kernel, in the event loop; must not block."""

_RESTARTED = "The kernel was restarted."
_SHUT_DOWN = "The kernel was shut down."


def _no_recorder(clock: Callable[[], float]) -> ExecutionRecorder:
    return ExecutionRecorder(max_executions=0, max_bytes=0, clock=clock)


def _no_words() -> str | None:
    return None


class KernelLink:
    """Carries messages between one kernel and all sessions, and keeps the kernel's log, or the end of it.

    Where a supervisor stands beside the kernel, the log is kept there: what this process has is what its clients are about
    to be given, and another process goes on with it. Of other kernels the log is here and ends with this process.

    Parameters
    ----------
    kernel_id
        The kernel, for what is logged.
    replica
        Tells this process from the other replicas.
    context
        ZeroMQ context of its sockets.
    session
        Returns who signs and checks messages with the kernel's key.
    options, metrics
        Limits, and who counts.
    make_recorder
        Makes what records what the kernel runs, by a clock; without it nothing is recorded.
    words
        Returns what a kernel waits for that starts.
    """

    def __init__(
        self,
        *,
        kernel_id: str,
        context: zmq.Context[zmq.Socket[bytes]],
        session: Callable[[], Session],
        options: LinkOptions,
        metrics: LinkMetrics,
        make_recorder: Callable[[Callable[[], float]], ExecutionRecorder] = _no_recorder,
        words: Callable[[], str | None] = _no_words,
        replica: str = "",
    ) -> None:
        self._options = options
        self._metrics = metrics
        self._own_sockets = KernelChannels(
            kernel_id=kernel_id, context=context, session=session, metrics=metrics, received=self._received
        )
        self._changed = asyncio.Event()
        self._readers = LogReaders(kernel_id=kernel_id, session=session, options=options, metrics=metrics, read_kernel=self._read)
        self._state = LinkState.STARTING
        self._notices = StartNotices(session=session, state=lambda: self._state.told, words=words, show=self._readers.show)
        self._readers.on_connected(self._notices.connected)
        self._supervisor = SupervisorChannels(
            kernel_id=kernel_id,
            replica=replica or uuid.uuid4().hex,
            context=context,
            session=session,
            metrics=metrics,
            follower=LogFollower(
                begin=self._readers.begin_at,
                unplaced=lambda: self._readers.unplaced,
                placed=self._readers.placed,
                received=self._received,
                skipped=self._readers.skipped,
                requested=self._requested,
                taken_over=self._readers.taken_over,
                changed=self._changed.set,
            ),
        )
        self._channels: KernelChannels | SupervisorChannels = self._own_sockets
        self._questions = KernelQuestions(channels=lambda: self._channels)
        self._requests = LinkRequests(most_held_bytes=options.max_message_bytes)
        self._was_connected = False
        self._death = _SHUT_DOWN
        self._observers: list[Observer] = []
        self._make_recorder = make_recorder
        self._history = History(ask=self._ask_page)
        self.executions = make_recorder(time.time)
        """What the kernel ran, as far as it was heard here."""

    # ------------------------------------------------------------------------------------------------------- connecting

    def connect(self, info: Mapping[str, Any], *, supervisor: SupervisorAddress | None = None) -> None:
        """Reach the kernel where its connection information says, or its supervisor where there is one.

        Raises
        ------
        Unavailable
            This process can't have another connection.
        """
        if supervisor is None:
            self._supervisor.disconnect()
            self._own_sockets.connect(info)
            self._use(self._own_sockets)
        else:
            self._own_sockets.disconnect()
            self._use(self._supervisor)
            self._supervisor.reach(supervisor)
        self._was_connected = True

    def _use(self, channels: KernelChannels | SupervisorChannels) -> None:
        self._channels = channels
        self._readers.keep_elsewhere(channels if isinstance(channels, SupervisorChannels) else None)

    def _read(self, wanted: bool) -> None:  # noqa: FBT001 - a switch
        self._channels.read(wanted)

    def disconnect(self) -> None:
        """Close the connection; the log and its cursors stay."""
        self._readers.report()
        self._channels.disconnect()

    def close(self) -> None:
        """Disconnect for good; what connected clients haven't got yet stays until they have. May be called twice."""
        self.disconnect()
        self._notices.close()
        self._observers.clear()
        self.executions.clear()
        self._readers.close()

    @property
    def was_connected(self) -> bool:
        """Whether the kernel was ever reached."""
        return self._was_connected

    @property
    def curve(self) -> bool:
        """Whether CURVE authenticates the connection."""
        return self._channels.curve

    @property
    def session(self) -> Session:
        """Signs and checks messages with the kernel's key."""
        return self._channels.session

    # ------------------------------------------------------------------------------------------------- its supervisor

    @property
    def supervised(self) -> bool:
        """Whether a supervisor keeps the kernel's log."""
        return self._channels is self._supervisor and self._supervisor.connected

    @property
    def status(self) -> KernelStatus | None:
        """What the supervisor says of the kernel; `None` where there is none, or it hasn't said anything yet."""
        return self._supervisor.status if self.supervised else None

    @property
    def usage(self) -> KernelUsage | None:
        """What the kernel's container uses; `None` where no supervisor tells."""
        return self._supervisor.usage if self.supervised else None

    async def status_is(self, wanted: Callable[[KernelStatus], bool]) -> KernelStatus:
        """Return what the supervisor says of the kernel, as soon as that is wanted; never, where nobody says anything."""
        while True:
            status = self.status
            if status is not None and wanted(status):
                return status
            self._changed.clear()
            await self._changed.wait()

    async def attach(self, session_id: str) -> None:
        """Return when it is known where a session stands in the log.

        Raises
        ------
        Unavailable
            The kernel's supervisor isn't there any more.
        """
        if self.supervised and not self._readers.knows(session_id):
            position = await self._supervisor.attach(session_id)
            if not self._readers.knows(session_id):
                self._readers.place(session_id, position)

    async def restart(self, *, reason: str | None, now: bool) -> None:
        """Have the supervisor restart the kernel, and return when its program was started again.

        Parameters
        ----------
        reason
            Why the kernel died, for its clients; nothing where the restart was asked for.
        now
            Whether the kernel is given no time to end by itself.

        Raises
        ------
        Unavailable
            The supervisor can't, or doesn't answer.
        """
        status = await self.status_is(lambda _: True)
        await self._supervisor.command("restart", life=status.life, reason=reason, now=now)
        self._supervisor.heard.clear()
        await self.status_is(lambda later: later.life > status.life)

    async def claim(self, kernel_id: str, environment: Mapping[str, str]) -> None:
        """Have the supervisor of a claimed pod begin the kernel, with an environment that it finds.

        Raises
        ------
        Unavailable
            The supervisor can't, or doesn't answer.
        """
        await self._supervisor.command("claim", kernel_id=kernel_id, environment=dict(environment))

    async def interrupt(self) -> None:
        """Have the supervisor interrupt the kernel and everything it runs.

        Raises
        ------
        Unavailable
            The supervisor can't, or doesn't answer.
        """
        await self._supervisor.command("interrupt")

    def begin_interrupt(self) -> None:
        """Do the same without waiting for it."""
        self._supervisor.tell("interrupt")

    def control(self, kind: str, content: Mapping[str, Any]) -> None:
        """Send the kernel a request of the gateway's own on its control channel."""
        self._supervisor.ask(kind, content, channel="control")

    async def ask_kernel_info(self, *, again: bool = True) -> dict[str, Any]:
        """Return the content of the kernel's kernel_info_reply; see `KernelQuestions.kernel_info`."""
        return await self._questions.kernel_info(again=again)

    async def output_arrives(self, *, ask: bool) -> None:
        """Return when the kernel's output is known to arrive; see `KernelQuestions.output_arrives`."""
        await self._questions.output_arrives(ask=ask)

    # -------------------------------------------------------------------------------------------------------- receiving

    @property
    def log(self) -> MessageLog[KernelMessage]:
        """What the kernel said."""
        return self._readers.log

    @property
    def delivering(self) -> bool:
        """Whether a connected client is yet to be given something that the kernel said."""
        return self._readers.delivering

    @property
    def absent(self) -> int:
        """How many sessions are away whose place is kept."""
        return self._readers.absent

    def cursor(self, session_id: str) -> Cursor:
        """Return a session's place in the log; see `LogReaders.cursor`."""
        return self._readers.cursor(session_id)

    def observe(self, observer: Observer) -> None:
        """Tell somebody of every message from now on, until the link is closed."""
        self._observers.append(observer)

    def drain(self) -> None:
        """Take in what has already arrived."""
        self._channels.drain()

    def _ask_page(self, position: Position, arrived: Callable[[list[PageItem]], None]) -> None:
        self._supervisor.page(position, before=self.log.end, arrived=arrived)

    async def recall(self) -> None:
        """Return when what the kernel ran is recorded as far back as its supervisor's log goes.

        Of a kernel without one, what this process has heard is all that there is.
        """
        if not self.supervised:
            return
        await self.status_is(lambda _: True)
        recorder = await self._history.record(
            epoch=self._supervisor.epoch,
            begin=self._supervisor.begin,
            end=lambda: self.log.end,
            make_recorder=self._make_recorder,
        )
        if recorder is not None:
            self.executions.clear()
            self.executions = recorder

    def _received(self, message: KernelMessage) -> None:
        if message.channel != "iopub":
            if message.parent.session == self.session.session:
                self._questions.answered(message)
                if self._channels is self._own_sockets:
                    return
            if message.recipient is None:
                message.recipient = self._requests.recipient(message)
        self._requests.seen(message)
        self.append(message)

    def _requested(self, message: KernelMessage) -> None:
        """Take note of a request that this process or another one sent."""
        if self.executions.get(message.header.msg_id) is None:
            record_request(self.executions, message)

    def append(self, message: KernelMessage) -> None:
        """Give a message its place in the log and pass it on; the kernel's own, or one that the gateway adds."""
        for observer in self._observers:
            observer(message)
        record(self.executions, message)
        self._readers.append(message)

    # ----------------------------------------------------------------------------------------------------------- sending

    def send(self, message: HeldMessage) -> bool:
        """Send a client's message, or hold it while the kernel isn't up; tell whether there is a kernel for it.

        Raises
        ------
        KernelDoesNotRead
            Too much waits for the kernel already; `TooManyWait` where that isn't up.
        MalformedMessage
            The version of the protocol that the kernel speaks has no such message.
        Unavailable
            This process can't have another connection.
        """
        if self._state.holds:
            self._requests.hold(message)
            self._record(message)
            self._notices.waits(message)
            return True
        if not self._channels.connected:
            self._requests.sent(message)
            self._record(message)
            self._answer_all(self._death)
            return False
        self._transmit(message)
        self._record(message)
        return True

    def refuse(self, message: HeldMessage, cause: str) -> None:
        """Answer a client's message with an error, where it is one that is answered at all."""
        self._record(message)
        self._answer_unsent([message], cause)

    def refuse_waiting(self, cause: str) -> None:
        """Answer everything with an error that waits here for the kernel to be up."""
        self._notices.over()
        self._answer_unsent(self._requests.release(), cause)

    @property
    def holding(self) -> bool:
        """Whether something waits here for the kernel to be up."""
        return self._requests.holding

    def _answer_unsent(self, messages: list[HeldMessage], cause: str) -> None:
        for answer in self._requests.answer_unsent(messages, cause, self.session):
            self.append(answer)

    def _record(self, message: HeldMessage) -> None:
        _, _, metadata, content, *_ = message.parts
        self.executions.requested(message.header.msg_type, message.header.msg_id, content=content, metadata=metadata)

    def _transmit(self, message: HeldMessage) -> None:
        self._channels.send(message, most_backlog=self._options.max_message_bytes)
        self._requests.sent(message)

    # ------------------------------------------------------------------------------------------- what becomes of the kernel

    def restarting(self, reason: str | None, *, in_place: bool = False) -> None:
        """Answer what the kernel can't any more, behind everything that it still said; tell the clients why it died.

        A restart that was asked for is told to nobody: to clients the status means that the kernel died.

        Parameters
        ----------
        in_place
            Whether the kernel's supervisor restarts it, which then says all of that itself.
        """
        if not in_place:
            self._end(reason or _RESTARTED)
            if reason is not None:
                self._announce("restarting", reason)
        self._state = LinkState.RESTARTING
        self._readers.hold_back_nobody(True)

    def up(self, state: str | None = None) -> None:
        """Send what clients sent while the kernel, which answers by now, wasn't up.

        Parameters
        ----------
        state
            What the kernel does, where it didn't say so itself.
        """
        self._state = LinkState.UP
        self._readers.hold_back_nobody(False)
        self._notices.over()
        if state is not None:
            self._readers.show_all(notices.status(state, session=self.session))
        for message in self._requests.release():
            try:
                self._transmit(message)
            except (KernelDoesNotRead, MalformedMessage, GatewayError) as error:
                self._metrics.dropped("kernel_gone")
                cause = str(error) or "the kernel doesn't read"
                self._channels.complain("A client's message was dropped that waited for its kernel", cause=cause)
                self._answer_unsent([message], f"The request wasn't sent: {cause}")

    def dead(self, reason: str | None) -> None:
        """Answer every request that is open or comes, and tell the clients why, behind everything that the kernel still said."""
        self._death = reason or _SHUT_DOWN
        was_up, self._state = self._state is not LinkState.STARTING, LinkState.ENDED
        self._readers.end()
        self._end(self._death)
        self.refuse_waiting(self._death)
        if was_up:
            self._announce("dead", reason)
            return
        self._explain(reason)
        self._notices.never_up(self._readers.connected)

    def _end(self, cause: str) -> None:
        self._channels.drain()
        self._answer_all(cause)
        # Those that were asked for by other ways than this link: clients of other replicas have their answers from there.
        self.executions.kernel_ended(DEAD_KERNEL, cause)
        # At once: what ZeroMQ has still to send would go to the next process, and be answered once more.
        self._channels.disconnect()

    def _answer_all(self, cause: str) -> None:
        """Give every request that is open an error that names the cause, and idle: without them its client waits for ever."""
        for message in self._requests.answer_all(cause, self.session):
            self.append(message)

    def _explain(self, reason: str | None) -> None:
        if reason:
            self.append(notices.stderr(reason, session=self.session))

    def _announce(self, state: str, reason: str | None) -> None:
        self._explain(reason)
        self.append(notices.status(state, session=self.session))
