"""One client session's place in its kernel's log."""

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from enterprise_gateway.links.messages import KernelMessage
from enterprise_gateway.links.repeated_loss import RepeatedLoss, in_place_of
from enterprise_gateway_common.message_log import Gap, Position

if TYPE_CHECKING:
    from enterprise_gateway.links.readers import LogReaders

__all__ = ["Cursor", "Outlet"]

_TURN_SECONDS = 0.002


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


class Cursor:
    """Reads a log for one session: while its client is connected, as fast as the client takes it.

    It is a number and little else, so a session that is away costs nothing, and one that is slow nothing more.

    Parameters
    ----------
    readers
        Whose log it reads.
    session_id
        Only messages to this session, or to all, are for it.
    position
        The first message that it hasn't read.
    """

    __slots__ = ("_continuation", "_losses", "_outlet", "_readers", "position", "session_id")

    def __init__(self, *, readers: "LogReaders", session_id: str, position: Position) -> None:
        self._readers = readers
        self._losses = RepeatedLoss()
        self._outlet: Outlet | None = None
        self._continuation: asyncio.Handle | None = None
        self.session_id = session_id
        self.position = position

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
        if self._continuation is not None:
            self._continuation.cancel()
            self._continuation = None
        if position is not None:
            self.position = position
        self._check_loss(lost=position is not None)
        self._readers.cursor_detached(self)

    def _check_loss(self, *, lost: bool) -> None:
        position, head = self.position, None
        while lost and (found := self._readers.log.read(position)) is not None:
            item, behind = found
            if not isinstance(item, Gap) and self._is_for_it(item):
                head = item
                break
            position = behind
        if self._losses.lost(position.number, head) and head is not None:
            self._readers.gave_up(head)

    def _is_for_it(self, message: KernelMessage) -> bool:
        return message.recipient is None or message.recipient == self.session_id

    def _deliver(self, outlet: Outlet, message: KernelMessage) -> None:
        if self._losses.gave_up(self.position.number):
            message = in_place_of(message, self._readers.session)
        outlet.deliver(message, self.position)

    def appended(self, message: KernelMessage, position: Position, behind: Position) -> None:
        """Take note of a message at the end of the log."""
        outlet = self._outlet
        if outlet is None or position.number != self.position.number:
            return
        if self._is_for_it(message):
            if not outlet.ready:
                self._readers.cursor_fell_behind(self)
                return
            self._deliver(outlet, message)
        self.position = behind

    def advance(self) -> None:
        """Read on, as far as the client takes it, with a turn for others from time to time."""
        outlet, log = self._outlet, self._readers.log
        if outlet is None or self._continuation is not None:
            return
        end = time.monotonic() + _TURN_SECONDS
        while (found := log.read(self.position)) is not None:
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
        self._readers.cursor_advanced(self, caught_up=found is None)

    def _continue(self) -> None:
        self._continuation = None
        self.advance()
