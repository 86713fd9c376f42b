"""One client session's place in its kernel's log."""

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from enterprise_gateway.links.messages import KernelMessage, PageItem
from enterprise_gateway.links.repeated_loss import SMALLEST_LIMIT, RepeatedLoss, in_place_of
from enterprise_gateway_common.message_log import Gap, Position
from enterprise_gateway_common.supervisor_protocol import NO_SESSION

if TYPE_CHECKING:
    from enterprise_gateway.links.readers import LogReaders

__all__ = ["Cursor", "Outlet"]

_TURN_SECONDS = 0.002
# Of messages as large as a client may refuse, more aren't on their way to it at once.
_MOST_LARGE = 64


class Outlet(Protocol):
    """Takes a kernel's messages to a client; none of its methods ever fails."""

    @property
    def ready(self) -> bool:
        """Whether more may be delivered now."""

    def deliver(self, message: KernelMessage, position: Position) -> None:
        """Take one message, and remember where it stands."""

    def deliver_gap(self, gap: Gap) -> None:
        """Tell the client that messages are missing."""

    def undelivered_from(self) -> Position | None:
        """Return where the first message stands of which it isn't certain that the client received it, if there is one."""

    def taken_over(self) -> None:
        """Make room for a connection of the same session elsewhere."""


class Cursor:
    """Reads a log for one session: while its client is connected, as fast as the client takes it.

    It is a number and little else, so a session that is away costs nothing, and one that is slow nothing more. What isn't
    here any more, and is kept by the kernel's supervisor, comes from there page by page.

    Parameters
    ----------
    readers
        Whose log it reads.
    session_id
        Only messages to this session, or to all, are for it.
    position
        The first message that it hasn't read.
    """

    __slots__ = (
        "_continuation",
        "_large",
        "_losses",
        "_outlet",
        "_page",
        "_paging",
        "_readers",
        "placed",
        "position",
        "session_id",
    )

    def __init__(self, *, readers: "LogReaders", session_id: str, position: Position) -> None:
        self._readers = readers
        self._losses = RepeatedLoss()
        self._outlet: Outlet | None = None
        self._continuation: asyncio.Handle | None = None
        self._large: deque[tuple[int, int]] = deque(maxlen=_MOST_LARGE)  # number and size of what was delivered last
        self._page: deque[PageItem] = deque()
        self._paging = False
        self.session_id = session_id
        self.position = position
        self.placed = True
        """Whether the position is known to be the session's; nothing is read before."""

    @property
    def attached(self) -> bool:
        """Whether a client is connected."""
        return self._outlet is not None

    @property
    def needed_from(self) -> Position:
        """Where the first message stands that may have to be delivered, for the first time or again."""
        undelivered = None if self._outlet is None else self._outlet.undelivered_from()
        return self.position if undelivered is None else undelivered

    def attach(self, outlet: Outlet) -> None:
        """Give a client everything that it missed, and everything that is said from now on."""
        self._outlet = outlet
        self._readers.cursor_attached(self)
        self.advance()

    def detach(self, position: Position | None) -> None:
        """Wait for the client to come back; `position` is that of the first message that it wasn't delivered, if any."""
        self._outlet = None
        self._page.clear()
        if self._continuation is not None:
            self._continuation.cancel()
            self._continuation = None
        if position is not None:
            self.position = position
        self._check_loss(lost=position is not None)
        self._readers.cursor_detached(self)

    def _check_loss(self, *, lost: bool) -> None:
        number = self.position.number
        size = dict(self._large).get(number, 0) if lost else 0
        self._large.clear()
        if self._losses.lost(number, size):
            self._readers.gave_up(size)

    def show(self, message: KernelMessage) -> bool:
        """Give the client a message that has no place in the log; tell whether it takes one now."""
        if self._outlet is None or not self._outlet.ready:
            return False
        # One that doesn't arrive isn't sent again, and neither is anything that was read before it.
        self._outlet.deliver(message, self.position)
        return True

    def taken_over(self) -> None:
        """Let go of the client: another replica has the session."""
        if self._outlet is not None:
            self._outlet.taken_over()

    def _is_for_it(self, message: KernelMessage) -> bool:
        # A client may call its session whatever it likes, also by the name of nobody.
        return message.recipient is None or message.recipient == self.session_id != NO_SESSION

    def _deliver(self, outlet: Outlet, message: KernelMessage) -> None:
        if message.size >= SMALLEST_LIMIT:
            self._large.append((self.position.number, message.size))
        if self._losses.gave_up(self.position.number):
            message = in_place_of(message, self._readers.session)
        outlet.deliver(message, self.position)

    def appended(self, message: KernelMessage, position: Position, behind: Position) -> None:
        """Take note of a message at the end of the log."""
        outlet = self._outlet
        if outlet is None or not self.placed or position.number != self.position.number:
            return
        if self._is_for_it(message):
            if not outlet.ready:
                self._readers.cursor_fell_behind(self)
                return
            self._deliver(outlet, message)
        self.position = behind

    def _look(self) -> tuple[KernelMessage | Gap, Position] | None:
        """Return what stands at the position and the position behind it; nothing where that is still to come."""
        while self._page:
            item, position, behind = self._page[0]
            if position.number == self.position.number:
                return item, behind
            self._page.popleft()
        if self._readers.is_elsewhere(self.position):
            if not self._paging:
                self._paging = True
                self._readers.fetch(self.position, self._page_arrived)
            return None
        return self._readers.log.read(self.position)

    def _page_arrived(self, items: list[PageItem]) -> None:
        self._paging = False
        if self._outlet is None:
            return
        if not items and self._readers.is_elsewhere(self.position):
            first = self._readers.log.first
            items = [(Gap(self.position, first), self.position, first)]
        self._page.extend(items)
        self.advance()

    def advance(self) -> None:
        """Read on, as far as the client takes it, with a turn for others from time to time."""
        outlet = self._outlet
        if outlet is None or not self.placed or self._continuation is not None:
            return
        end = time.monotonic() + _TURN_SECONDS
        while (found := self._look()) is not None:
            item, behind = found
            if isinstance(item, Gap):
                if not outlet.ready:
                    break
                outlet.deliver_gap(item)
            elif self._is_for_it(item):
                if not outlet.ready:
                    break
                self._deliver(outlet, item)
            self.position = behind
            if time.monotonic() > end:
                self._continuation = asyncio.get_running_loop().call_soon(self._continue)
                break
        self._readers.cursor_advanced(self, caught_up=found is None and not self._paging)

    def _continue(self) -> None:
        self._continuation = None
        self.advance()
