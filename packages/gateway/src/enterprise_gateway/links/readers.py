"""The sessions that read one kernel's log: where each stands, who is behind, and what must still be kept for whom."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from jupyter_client.session import Session

from enterprise_gateway.links.channels import LinkMetrics
from enterprise_gateway.links.cursor import Cursor
from enterprise_gateway.links.messages import KernelMessage, PageItem
from enterprise_gateway.links.options import LinkOptions
from enterprise_gateway_common.message_log import MessageLog, Position

if TYPE_CHECKING:
    from enterprise_gateway.links.supervisor.channels import SupervisorChannels

__all__ = ["LogReaders"]

_log = logging.getLogger(__name__)

# Sessions of pages that were loaded again never come back, and what they haven't read stays in the log.
_MOST_ABSENT = 8
# What every session has received is kept up to here, so that the log isn't trimmed with each message.
_SPARE_BYTES = 1 << 20
# Of a log that is kept elsewhere this much is here, for clients that are nearly as fast as the fastest.
_TAIL_BYTES = 4 << 20
_REPORT_SECONDS = 0.05


class LogReaders:
    """Gives what is appended to the log to every session as fast as its client takes it, and keeps the log within its bounds.

    While at least one connected client keeps up, the others fall behind in the log, and miss what the full log drops. When
    all of them are behind by more than a bound, the kernel isn't read any more.

    Parameters
    ----------
    kernel_id
        The kernel, for what is logged.
    session
        Returns who makes the gateway's own messages.
    options, metrics
        Limits, and who counts.
    read_kernel
        Begins or stops to read the kernel, and does nothing where that is so already.
    """

    def __init__(
        self,
        *,
        kernel_id: str,
        session: Callable[[], Session],
        options: LinkOptions,
        metrics: LinkMetrics,
        read_kernel: Callable[[bool], None],
    ) -> None:
        self._kernel_id = kernel_id
        self._session = session
        self._options = options
        self._metrics = metrics
        self._read_kernel = read_kernel
        self._on_connected: list[Callable[[str], None]] = []
        self._reading = True
        self._holds_back_nobody = True  # until it is up
        self._cursors: OrderedDict[str, Cursor] = OrderedDict()
        self._attached: dict[Cursor, None] = {}
        self._behind: dict[Cursor, None] = {}
        self._trim_at = _SPARE_BYTES
        self._comes_back = options.keeps_absent
        self._closed = False
        self._displaced: set[Cursor] = set()  # means: another replica has its session
        self._supervisor: SupervisorChannels | None = None
        self._told: dict[str, Position] = {}  # how far sessions were delivered everything, as the supervisor knows it
        self._report: asyncio.Handle | None = None
        self.log: MessageLog[KernelMessage] = MessageLog(
            max_bytes=options.log_bytes,
            max_messages=options.log_messages,
            changed=metrics.log_bytes,
            dropped=lambda: metrics.dropped("log_full"),
        )

    @property
    def session(self) -> Session:
        """Makes the gateway's own messages."""
        return self._session()

    @property
    def delivering(self) -> bool:
        """Whether a connected client is yet to be given something that the kernel said."""
        return bool(self._behind)

    @property
    def absent(self) -> int:
        """How many sessions are away whose place is kept."""
        return len(self._cursors) - len(self._attached)

    # ------------------------------------------------------------------------------------------- a log kept elsewhere

    def keep_elsewhere(self, supervisor: "SupervisorChannels | None") -> None:
        """Have a supervisor keep the log and where its sessions stand, or nobody; here is its end then."""
        if supervisor is self._supervisor:
            return
        self._supervisor = supervisor
        self._told.clear()
        self.log.limit(self._options.log_bytes if supervisor is None else min(_TAIL_BYTES, self._options.log_bytes))

    def begin_at(self, end: Position) -> Position:
        """Take note that another log than before is kept elsewhere, and where it ends; return where that is here."""
        self._told.clear()
        before = self.log.end
        position = Position(max(before.number, end.number), max(before.offset, end.offset))
        if position != before:
            self.log.go_on_at(position)
        for cursor in self._cursors.values():
            if cursor.position == before:
                # Another replica may have brought the session further than nowhere.
                cursor.position, cursor.placed = position, False
        return position

    @property
    def unplaced(self) -> list[str]:
        """The sessions of which only their supervisor knows where they stand."""
        return [session_id for session_id, cursor in self._cursors.items() if not cursor.placed]

    def placed(self, session_id: str, position: Position | None) -> None:
        """Have a session go on where its supervisor says, or from where it is where that says nothing."""
        cursor = self._cursors.get(session_id)
        if cursor is None or cursor.placed:
            return
        if position is not None and position.number < cursor.position.number:
            cursor.position = position
        cursor.placed = True
        cursor.advance()

    def skipped(self, position: Position) -> None:
        """Take note that nothing will be appended before a position."""
        self.log.go_on_at(position)
        for cursor in tuple(self._attached):
            cursor.advance()

    def is_elsewhere(self, position: Position) -> bool:
        """Tell whether what stands at a position has to be fetched."""
        return position.number < self.log.first.number and self._supervisor is not None and self._supervisor.is_there(position)

    def fetch(self, position: Position, arrived: "Callable[[list[PageItem]], None]") -> None:
        """Have somebody told what stands at a position and behind it, before what is here."""
        if self._supervisor is not None:
            self._supervisor.page(position, before=self.log.first, arrived=arrived)

    def _report_soon(self) -> None:
        if self._supervisor is not None and self._report is None:
            self._report = asyncio.get_running_loop().call_later(_REPORT_SECONDS, self._report_now)

    def _report_now(self) -> None:
        self._report = None
        if self._supervisor is None:
            return
        news = {}
        for cursor in self._attached:
            needed_from = cursor.needed_from
            if self._told.get(cursor.session_id) != needed_from:
                news[cursor.session_id] = self._told[cursor.session_id] = needed_from
            if needed_from.number != cursor.position.number:
                # Nobody tells when the client has received it.
                self._report_soon()
        self._supervisor.delivered(news)

    def report(self) -> None:
        """Tell at once how far sessions were delivered everything, as far as that is known."""
        if self._report is not None:
            self._report.cancel()
            self._report_now()

    def taken_over(self, session_id: str) -> None:
        """Let go of a session that another replica has by now."""
        cursor = self._cursors.get(session_id)
        if cursor is not None and cursor.attached:
            # What it was delivered is told when its connection is closed.
            self._displaced.add(cursor)
            cursor.taken_over()
            return
        # Its last word is said already; the other replica waits for this one all the same.
        self._cursors.pop(session_id, None)
        if self._supervisor is not None:
            self._supervisor.delivered({}, left=session_id)

    def knows(self, session_id: str) -> bool:
        """Whether a session's place is known here."""
        return session_id in self._cursors

    def place(self, session_id: str, position: Position) -> None:
        """Have a session begin at a position."""
        self.cursor(session_id).position = position

    # ---------------------------------------------------------------------------------------------------------- messages

    def append(self, message: KernelMessage) -> None:
        """Give a message its place in the log and pass it on."""
        position = self.log.append(message)
        behind = self.log.end
        if len(self._attached) > 1:
            message.share_frames()
        for cursor in tuple(self._attached):
            cursor.appended(message, position, behind)
        message.drop_frames()
        self._bound()
        if self._attached:
            self._report_soon()

    def hold_back_nobody(self, wanted: bool) -> None:  # noqa: FBT001 - a switch
        """Have the kernel read however little its clients take: while it is being restarted it has to answer the gateway."""
        self._holds_back_nobody = wanted
        self._bound()

    def end(self) -> None:
        """Keep no session's place from now on: its kernel is dead."""
        self._comes_back = False

    def close(self) -> None:
        """Forget the sessions that are away; what connected clients haven't got yet stays until they have."""
        self._closed = True
        if self._report is not None:
            self._report.cancel()
            self._report = None
        for session_id in [session_id for session_id, cursor in self._cursors.items() if not cursor.attached]:
            del self._cursors[session_id]
        self._bound()

    # ------------------------------------------------------------------------------------------------------------ bounds

    def _bound(self) -> None:
        leaders = self._behind if len(self._behind) == len(self._attached) else {}
        read_up_to = max((cursor.position for cursor in leaders), default=self.log.end)
        # What the fastest client is yet to get is bounded by not reading more; what only slower ones miss is dropped.
        self.log.enforce(before=self.log.end if self._holds_back_nobody else read_up_to)
        if self._supervisor is not None:
            # The replies that outlived their output are kept there, too.
            self.log.forget_before(self.log.first)
        ahead = self.log.end.offset - read_up_to.offset
        limit = self._options.read_ahead_bytes
        self._read(self._holds_back_nobody or ahead <= (limit if self._reading else limit // 2))
        if self._closed or self.log.size > self._trim_at:
            self._trim()

    def _read(self, wanted: bool) -> None:  # noqa: FBT001 - a switch
        if wanted != self._reading:
            self._reading = wanted
            self._read_kernel(wanted)

    def _trim(self) -> None:
        # Those that are away read elsewhere when they come back, where that is possible.
        needing = self._cursors.values() if self._supervisor is None else self._attached
        self.log.forget_before(min((cursor.needed_from for cursor in needing), default=self.log.end))
        self._trim_at = _SPARE_BYTES + self.log.size

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
            cursor = self._cursors[session_id] = Cursor(readers=self, session_id=session_id, position=self.log.end)
        return cursor

    def cursor_attached(self, cursor: Cursor) -> None:
        """Note that a session's client is connected."""
        self._attached[cursor] = None
        for told in self._on_connected:
            told(cursor.session_id)

    def on_connected(self, told: Callable[[str], None]) -> None:
        """Call somebody with each session whose client connects, before that client is given anything."""
        self._on_connected.append(told)

    def show(self, session_id: str, message: KernelMessage) -> bool:
        """Give a session's client a message that has no place in the log; tell whether it takes one now."""
        cursor = self._cursors.get(session_id)
        return cursor is not None and cursor.show(message)

    @property
    def connected(self) -> list[str]:
        """The sessions whose clients are connected."""
        return [cursor.session_id for cursor in self._attached]

    def show_all(self, message: KernelMessage) -> None:
        """Give it to every client that takes one now."""
        for cursor in tuple(self._attached):
            cursor.show(message)

    def cursor_detached(self, cursor: Cursor) -> None:
        """Note that it isn't any more."""
        self._attached.pop(cursor, None)
        self._behind.pop(cursor, None)
        self._told.pop(cursor.session_id, None)
        if self._supervisor is not None:
            self._supervisor.delivered({cursor.session_id: cursor.position}, left=cursor.session_id)
        if self._cursors.get(cursor.session_id) is cursor:
            if self._comes_back and cursor not in self._displaced:
                self._cursors.move_to_end(cursor.session_id)
            else:
                del self._cursors[cursor.session_id]
        self._displaced.discard(cursor)
        self._bound()

    def cursor_fell_behind(self, cursor: Cursor) -> None:
        """Note that a client doesn't take all that is said as it is said."""
        self._behind[cursor] = None

    def cursor_advanced(self, cursor: Cursor, *, caught_up: bool) -> None:
        """Note that a client took more."""
        self._report_soon()
        if caught_up:
            self._behind.pop(cursor, None)
        else:
            self._behind[cursor] = None
        self._bound()

    def gave_up(self, size: int) -> None:
        """Note that a client lost its connection over a message twice, so that it gets something else in its place."""
        self._metrics.dropped("too_large_for_client")
        fields = {"kernel_id": self._kernel_id, "bytes": size}
        _log.warning("A message was dropped: its client lost the connection over it twice", extra=fields)
