"""A kernel behind its supervisor: the same as its own sockets to whoever sends to it and hears it."""

import asyncio
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

import zmq
from jupyter_client.session import Session

from enterprise_gateway.errors import Unavailable
from enterprise_gateway.launch.supervisor_address import SupervisorAddress
from enterprise_gateway.links import adaptation
from enterprise_gateway.links.channels import LinkMetrics
from enterprise_gateway.links.complaints import Complaints
from enterprise_gateway.links.messages import KernelMessage, MalformedMessage, PageItem
from enterprise_gateway.links.requests import HeldMessage, KernelDoesNotRead
from enterprise_gateway.links.signing import sign
from enterprise_gateway.links.sockets import ChannelName
from enterprise_gateway.links.supervisor.connection import SupervisorConnection
from enterprise_gateway_common.message_log import Gap, Position
from enterprise_gateway_common.supervisor_protocol import (
    NO_SESSION,
    REQUESTS,
    VERSIONS,
    Entry,
    KernelPhase,
    Kind,
    MalformedFrames,
    decode,
    decode_entries,
    decode_page,
    encode,
    position_of,
)

__all__ = ["KernelStatus", "KernelUsage", "LogFollower", "SupervisorChannels"]

_ACKNOWLEDGE_BYTES = 128 * 1024
_PAGE_BYTES = 256 * 1024
_COMMAND_SECONDS = 15.0
_ANY_AMOUNT = 1 << 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class KernelStatus:
    """What a supervisor says of its kernel."""

    phase: KernelPhase
    life: int
    """How many times it was started in its pod."""
    cause: str | None
    """Why it ended the last time it did."""
    final: bool = False
    """Whether it was told to end for good, and its pod ends with it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class KernelUsage:
    """What a kernel's container uses, as its supervisor measures it; `None` for what the node doesn't tell, and for no limit."""

    memory_bytes: int | None
    """Without files that Linux keeps in memory until that is wanted."""
    memory_limit_bytes: int | None
    cpu_cores: float | None
    """The mean over some ten seconds."""
    cpu_limit_cores: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogFollower:
    """Who takes in a log that is kept elsewhere."""

    begin: Callable[[Position], Position]
    """Told where another log than before ends; returns where the next message will stand here."""
    unplaced: Callable[[], Iterable[str]]
    """Returns the sessions of which only the supervisor knows where they stand in that log."""
    placed: Callable[[str, Position | None], None]
    """Told where one of them stands; nothing where the supervisor isn't there any more."""
    received: Callable[[KernelMessage], None]
    """Told of each message in its turn."""
    skipped: Callable[[Position], None]
    """Told up to where messages are missing here; the supervisor may still have them."""
    requested: Callable[[KernelMessage], None]
    """Told of a request that somebody sent, by this process or another."""
    taken_over: Callable[[str], None]
    """Told of a session that is connected to another replica."""
    changed: Callable[[], None]
    """Told when the kernel's status changed."""


class SupervisorChannels:
    """Speaks with one kernel's supervisor, over all breaks of the connection.

    Positions that it takes and returns are those of the follower's log.

    Parameters
    ----------
    kernel_id, replica
        For what is logged, and what tells this process from the other replicas.
    context, session, metrics
        As `KernelChannels` has them.
    follower
        Takes in the log.
    """

    def __init__(
        self,
        *,
        kernel_id: str,
        replica: str,
        context: zmq.Context[zmq.Socket[bytes]],
        session: Callable[[], Session],
        metrics: LinkMetrics,
        follower: LogFollower,
    ) -> None:
        self._replica = replica
        self._context = context
        self._session = session
        self._metrics = metrics
        self._follower = follower
        self._address: SupervisorAddress | None = None
        self._connection: SupervisorConnection | None = None
        self._welcomed = False
        self._epoch = ""
        self._base = Position(0, 0)  # of the follower's log, where the supervisor's has number 0
        self._next = Position(0, 0)  # the supervisor's position of the entry that is to come
        self._follows_again = False  # means: entries from `_next` on were asked for once more
        self._unacknowledged = 0
        self._reading = True
        self._numbers = count(1)
        self._unsent: dict[int, list[bytes]] = {}  # until the supervisor has them
        self._backlog = 0
        self._commands: dict[int, tuple[list[bytes], asyncio.Future[str | None]]] = {}
        self._pages: dict[int, tuple[list[bytes], Callable[[list[PageItem]], None]]] = {}
        self._attaching: dict[str, asyncio.Future[Position]] = {}
        self.complain = Complaints(kernel_id)
        """Told what is wrong with the kernel's messages."""
        self.status: KernelStatus | None = None
        """As it was told last; `None` before the supervisor answered."""
        self.usage: KernelUsage | None = None
        """As it was told last; `None` where the supervisor doesn't tell."""
        self.heard = asyncio.Event()
        """Set as soon as output arrives from the kernel as it runs now."""
        self.begin = Position(0, 0)
        """Where the supervisor's log began when this process came to it."""

    # ------------------------------------------------------------------------------------------------------- connecting

    def reach(self, address: SupervisorAddress) -> None:
        """Connect to a supervisor, unless this is connected to it already.

        Raises
        ------
        Unavailable
            This process can't have another connection.
        """
        self.heard.clear()
        if self._connection is not None and address == self._address:
            return
        self.disconnect()
        self._address = address
        self._connection = SupervisorConnection(
            context=self._context, address=address, received=self._received, stands=self._hello, broke=self._broke
        )

    def disconnect(self) -> None:
        """Close the connection; whoever waits for an answer is told that there will be none."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.close()
        self._welcomed = False
        # What is reached next is another pod's; and were it the same one, others may have written into the log here.
        self._epoch = ""
        self.status = self.usage = None
        self._unsent.clear()
        self._backlog = 0
        for _, answer in self._commands.values():
            if not answer.done():
                answer.set_result("the kernel's supervisor isn't there any more")
        self._commands.clear()
        pages, self._pages = self._pages, {}
        for _, arrived in pages.values():
            arrived([])
        for attached in self._attaching.values():
            attached.cancel()
        self._attaching.clear()

    def _hello(self) -> None:
        self._say(Kind.HELLO, {"versions": VERSIONS, "replica": self._replica})

    def _broke(self) -> None:
        self._welcomed = False

    @property
    def connected(self) -> bool:
        """Whether there is a supervisor to send to."""
        return self._connection is not None

    @property
    def curve(self) -> bool:
        """Whether CURVE authenticates the connection: always."""
        return True

    @property
    def session(self) -> Session:
        """Makes the gateway's own messages."""
        return self._session()

    def _say(self, kind: Kind, fields: Mapping[str, Any]) -> None:
        if self._connection is not None:
            self._connection.send(encode(kind, dict(fields)))

    # --------------------------------------------------------------------------------------------------------- hearing

    @property
    def reading(self) -> bool:
        """Whether the supervisor may send more than a bounded part of the log."""
        return self._reading

    def read(self, wanted: bool) -> None:  # noqa: FBT001 - a switch
        """Let the supervisor send on, or not; what it has sent already arrives."""
        self._reading = wanted
        if wanted and self._unacknowledged:
            self._acknowledge()

    def drain(self) -> None:
        """Take in what has already arrived."""
        if self._connection is not None:
            self._connection.drain()

    def _acknowledge(self) -> None:
        self._unacknowledged = 0
        self._say(Kind.ACKNOWLEDGE, {"offset": self._next.offset})

    def _received(self, frames: list[bytes]) -> None:
        try:
            if frames[0] == Kind.ENTRY.value:
                entries = decode_entries(frames)
            else:
                self._hear(*decode(frames))
                return
        except (MalformedFrames, KeyError, TypeError, ValueError) as error:
            self._metrics.dropped("malformed_from_kernel")
            self.complain("A message from a supervisor was dropped", cause=str(error))
            return
        for entry in entries:
            self._entry(entry)

    def _hear(self, kind: Kind, fields: dict[str, Any], parts: Any) -> None:  # noqa: ANN401 - the rest of the frames
        match kind:
            case Kind.WELCOME:
                self._welcome(fields)
            case Kind.STATE | Kind.USAGE:
                self._status(fields) if kind is Kind.STATE else self._used(fields)
            case Kind.TAKEN:
                self._taken(fields["number"])
            case Kind.SKIPPED:
                self._next = position_of(fields["to"])
                self._follower.skipped(self._local(self._next))
                self._acknowledge()
            case Kind.PAGE:
                self._page(fields, parts)
            case Kind.ATTACHED:
                attached = self._attaching.pop(fields["session"], None)
                if attached is not None and not attached.done():
                    attached.set_result(self._local(position_of(fields["position"])))
            case Kind.TAKEN_OVER:
                self._follower.taken_over(fields["session"])
            case Kind.DONE:
                _, answer = self._commands.pop(fields["id"], ([], None))
                if answer is not None and not answer.done():
                    answer.set_result(fields["error"])
            case Kind.REFUSED:
                self.complain("A kernel's supervisor speaks no version of the protocol that is known here")

    def _welcome(self, fields: dict[str, Any]) -> None:
        end = position_of(fields["end"])
        if fields["epoch"] != self._epoch:
            self._epoch = fields["epoch"]
            self._next = end
            local = self._follower.begin(end)
            self._base = Position(local.number - end.number, local.offset - end.offset)
            self.begin = self._local(position_of(fields["begin"]))
            for session_id in self._follower.unplaced():
                self._attached(session_id).add_done_callback(partial(self._placed, session_id))
        self._welcomed = True
        self._follows_again = False
        self._unacknowledged = 0
        self._status(fields["state"])
        if "usage" in fields:
            self._used(fields["usage"])
        self._say(Kind.FOLLOW, {"position": self._next})
        connection = self._connection
        if connection is None:
            return
        # What was on its way when the connection broke: the supervisor knows what it had already.
        for frames in self._unsent.values():
            connection.send(frames)
        for frames, _ in self._commands.values():
            connection.send(frames)
        for frames, _ in self._pages.values():
            connection.send(frames)
        for session_id in self._attaching:
            self._say(Kind.ATTACH, {"session": session_id})

    def _status(self, fields: dict[str, Any]) -> None:
        cause = fields["cause"]
        self.status = KernelStatus(
            phase=KernelPhase(fields["phase"]),
            life=int(fields["life"]),
            cause=None if cause is None else str(cause),
            final=fields.get("final") is True,
        )
        self._follower.changed()

    def _used(self, fields: dict[str, Any]) -> None:
        self.usage = KernelUsage(**{field.name: _amount(fields[field.name]) for field in dataclasses.fields(KernelUsage)})

    def _local(self, position: Position) -> Position:
        return Position(position.number + self._base.number, position.offset + self._base.offset)

    def _remote(self, position: Position) -> Position:
        return Position(max(0, position.number - self._base.number), max(0, position.offset - self._base.offset))

    @property
    def epoch(self) -> str:
        """What tells this life of the supervisor from others; empty before it answered."""
        return self._epoch

    def is_there(self, position: Position) -> bool:
        """Tell whether the supervisor may have what stands at a position of the log."""
        return self.connected and bool(self._epoch) and position.number >= self._base.number

    def _entry(self, entry: Entry) -> None:
        if entry.position.number != self._next.number:
            # One that came before is of a connection that broke. Before one that comes too early something was lost on the
            # way here, and nothing would ever fit again.
            if entry.position.number > self._next.number and not self._follows_again:
                self._follows_again = True
                self._say(Kind.FOLLOW, {"position": self._next})
            return
        self._follows_again = False
        message = self._message(entry)
        self._next = Position(entry.position.number + 1, entry.position.offset + message.size)
        self._unacknowledged += message.size
        if entry.channel == REQUESTS:
            self._follower.requested(message)
        elif entry.channel == "iopub" and not entry.by_supervisor:
            self.heard.set()
        self._follower.received(message)
        if self._reading and self._unacknowledged >= _ACKNOWLEDGE_BYTES:
            self._acknowledge()

    def _message(self, entry: Entry) -> KernelMessage:
        """Return an entry as a message; one that no client could read is for nobody, and keeps its place."""
        channel: ChannelName = "iopub" if entry.channel in {"iopub", REQUESTS} else entry.channel  # type: ignore[assignment]
        recipient = NO_SESSION if entry.channel == REQUESTS else entry.recipient
        parts, session = entry.parts, self._session()
        message = KernelMessage(channel, parts, recipient=recipient, by_gateway=entry.by_supervisor)
        try:
            if adaptation.is_needed(session) and not entry.by_supervisor and entry.channel != REQUESTS:
                size = message.size
                message = KernelMessage(channel, adaptation.from_kernel(parts, session), recipient=recipient)
                message.size = size
            _ = message.header, message.parent
        except MalformedMessage as error:
            self._metrics.dropped("malformed_from_kernel")
            self.complain("A message from a kernel was dropped", cause=str(error))
            unreadable = KernelMessage(channel, [b'{"msg_id":"","msg_type":""}', b"{}", b"{}", b"{}"], recipient=NO_SESSION)
            unreadable.size = message.size
            return unreadable
        return message

    # --------------------------------------------------------------------------------------------------------- sending

    def send(self, message: HeldMessage, *, most_backlog: int) -> None:
        """Send a client's message, now or when the supervisor can be reached again; it runs once.

        Raises
        ------
        KernelDoesNotRead
            More than `most_backlog` bytes wait already.
        MalformedMessage
            The version of the protocol that the kernel speaks has no such message.
        """
        session, parts = self._session(), message.parts
        if adaptation.is_needed(session):
            parts = adaptation.to_kernel(parts, session)
        if self._backlog > most_backlog:
            raise KernelDoesNotRead
        self._send(message.channel, message.session_id, sign(parts, session))

    def ask(self, kind: str, content: Mapping[str, Any] | None = None, *, channel: ChannelName = "shell") -> None:
        """Send a request of the gateway's own, whose reply names this session."""
        session = self._session()
        self._send(channel, session.session, session.serialize(session.msg(kind, dict(content or {}))))

    def _send(self, channel: str, session_id: str, signed: list[bytes]) -> None:
        number = next(self._numbers)
        frames = encode(Kind.SEND, {"channel": channel, "session": session_id, "number": number}, signed)
        self._unsent[number] = frames
        self._backlog += sum(map(len, frames))
        if self._welcomed and self._connection is not None:
            self._connection.send(frames)

    def _taken(self, number: int) -> None:
        frames = self._unsent.pop(number, None)
        if frames is not None:
            self._backlog -= sum(map(len, frames))

    def tell(self, name: str) -> None:
        """Give the supervisor a command, and don't wait for its answer."""
        self._say(Kind.COMMAND, {"id": next(self._numbers), "name": name})

    async def command(self, name: str, **fields: object) -> None:
        """Return when the supervisor has done something.

        Raises
        ------
        Unavailable
            It can't, or doesn't answer.
        """
        number = next(self._numbers)
        frames = encode(Kind.COMMAND, {"id": number, "name": name, **fields})
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._commands[number] = frames, answer
        if self._welcomed and self._connection is not None:
            self._connection.send(frames)
        try:
            async with asyncio.timeout(_COMMAND_SECONDS):
                error = await answer
        except TimeoutError:
            raise Unavailable(f"The kernel's supervisor didn't answer within {_COMMAND_SECONDS:g} seconds.") from None
        finally:
            self._commands.pop(number, None)
        if error is not None:
            raise Unavailable(f"The kernel can't be told to {name}: {error}.")

    # -------------------------------------------------------------------------------------------------------- sessions

    async def attach(self, session_id: str) -> Position:
        """Return where a session stands in the log, and have this replica be the one that it is connected to.

        Raises
        ------
        Unavailable
            The supervisor isn't there any more.
        """
        attached = self._attached(session_id)
        with suppress(asyncio.CancelledError):
            return await asyncio.shield(attached)
        if attached.cancelled():
            raise Unavailable("The kernel's supervisor isn't there any more.")
        raise asyncio.CancelledError

    def _attached(self, session_id: str) -> "asyncio.Future[Position]":
        attached = self._attaching.get(session_id)
        if attached is None:
            attached = self._attaching[session_id] = asyncio.get_running_loop().create_future()
            if self._welcomed:
                self._say(Kind.ATTACH, {"session": session_id})
        return attached

    def _placed(self, session_id: str, attached: "asyncio.Future[Position]") -> None:
        self._follower.placed(session_id, None if attached.cancelled() else attached.result())

    def delivered(self, positions: Mapping[str, Position], *, left: str | None = None) -> None:
        """Tell how far sessions were delivered everything.

        Parameters
        ----------
        left
            The one whose client isn't connected any more.
        """
        if (positions or left is not None) and self._welcomed:
            told = {session_id: self._remote(position) for session_id, position in positions.items()}
            self._say(Kind.DELIVERED, {"sessions": told, "left": left})

    def page(self, position: Position, *, before: Position, arrived: Callable[[list[PageItem]], None]) -> None:
        """Have somebody told what stands in the log from a position on, as far as a page goes; nothing where nothing is left."""
        number = next(self._numbers)
        fields = {"id": number, "position": self._remote(position), "before": self._remote(before), "bytes": _PAGE_BYTES}
        frames = encode(Kind.READ, fields)
        self._pages[number] = frames, arrived
        if self._welcomed and self._connection is not None:
            self._connection.send(frames)

    def _page(self, fields: dict[str, Any], parts: Any) -> None:  # noqa: ANN401 - frames
        _, arrived = self._pages.pop(fields["id"], ([], None))
        if arrived is None:
            return
        items: list[PageItem] = []
        for item in decode_page(fields, parts):
            if isinstance(item, Gap):
                gap = Gap(self._local(item.start), self._local(item.end), item.parent_header)
                items.append((gap, gap.start, gap.end))
            else:
                message, start = self._message(item), self._local(item.position)
                items.append((message, start, Position(start.number + 1, start.offset + message.size)))
        arrived(items)


def _amount(value: object) -> Any:  # noqa: ANN401 - a number or none, whole where it was
    # What runs in the pod is the user's, and so may be what answers there.
    if value is None or (isinstance(value, int | float) and 0 <= value < _ANY_AMOUNT):
        return value
    raise MalformedFrames("what a kernel uses is no amount")
