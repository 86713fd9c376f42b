"""What a kernel said, numbered, in order and bounded: the one source from which every client reads.

A reader holds nothing but a `Position`. It asks for what stands there and is given a message, or a `Gap` where messages
had to be dropped, and the position behind it. So a slow reader costs the log nothing, and readers don't know of each other.

Output gives way first. Replies and the kernel's states outlive it as long as they can: a client that never hears of them
waits for ever.
"""

from bisect import bisect_right
from typing import Callable, Dict, Generic, List, NamedTuple, Optional, Protocol, Tuple, TypeVar, Union

__all__ = ["START", "Gap", "LoggedMessage", "MessageLog", "Position"]


class Position(NamedTuple):
    """A place in front of one message of a log."""

    number: int
    """Of that message; the first message of a log has number 0."""
    offset: int
    """Bytes of all messages before it."""


START = Position(0, 0)
"""Where every log begins."""


class LoggedMessage(Protocol):
    """What a log needs to know of a message."""

    @property
    def size(self) -> int:
        """Bytes that it takes."""

    @property
    def parent_header(self) -> bytes:
        """JSON of the header of the request that it belongs to."""

    @property
    def outlives_output(self) -> bool:
        """Whether it goes only when no output is left: a reply, or a state of the kernel."""


class Gap(NamedTuple):
    """A stretch of a log whose messages are not there any more."""

    start: Position
    end: Position
    parent_header: bytes = b"{}"
    """The last dropped message's, so that a notice can be shown below the right cell."""

    @property
    def messages(self) -> int:
        """How many messages are missing."""
        return self.end.number - self.start.number

    @property
    def size(self) -> int:
        """How many bytes are missing."""
        return self.end.offset - self.start.offset


Message = TypeVar("Message", bound=LoggedMessage)


class _Kept(Generic[Message]):
    """A message that outlived the output around it."""

    __slots__ = ("end", "message", "start")

    def __init__(self, start: Position, message: Message) -> None:
        self.start = start
        self.message = message
        self.end = Position(start.number + 1, start.offset + message.size)


class MessageLog(Generic[Message]):
    """Numbers messages, keeps as many as its bounds allow, and knows where some are missing.

    Parameters
    ----------
    max_bytes, max_messages
        The most that is kept; 0 messages keeps nothing.
    changed
        Told by how many bytes the log grew or shrank.
    dropped
        Told of each message that a bound drove out.
    removed
        Told of each message that isn't there any more, for whatever reason.

    A message is dropped by `enforce`, not by `append`, so that its readers get it first. Everything before `_first` that is
    still there stands in `_old`, with gaps between; from `_first` on nothing is missing.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        max_messages: int,
        changed: Callable[[int], None] = lambda change: None,  # noqa: ARG005 - nobody counts
        dropped: Callable[[], None] = lambda: None,
        removed: Callable[[Message], None] = lambda message: None,  # noqa: ARG005 - nobody cares
    ) -> None:
        self._removed = removed
        self._max_bytes = max_bytes
        self._max_messages = max_messages
        self._changed = changed
        self._dropped = dropped
        self._first = self._end = START
        self._recent: Dict[int, Message] = {}
        self._old: List[Union[_Kept[Message], Gap]] = []
        self._old_ends: List[int] = []
        self._bytes = 0
        self._messages = 0

    @property
    def end(self) -> Position:
        """Where the next message will stand."""
        return self._end

    @property
    def first(self) -> Position:
        """Where the part begins of which nothing is missing."""
        return self._first

    @property
    def begin(self) -> Position:
        """Where the oldest message stood, or stands, of which something is known."""
        return self._old[0].start if self._old else self._first

    @property
    def size(self) -> int:
        """Bytes of the messages that are there."""
        return self._bytes

    def __len__(self) -> int:
        """Return how many messages are there."""
        return self._messages

    # ------------------------------------------------------------------------------------------------------- writing

    def append(self, message: Message) -> Position:
        """Add a message at the end, whatever the bounds say; return where it stands."""
        start, size = self._end, message.size
        self._recent[start.number] = message
        self._end = Position(start.number + 1, start.offset + size)
        self._count(size, 1)
        return start

    def limit(self, max_bytes: int) -> None:
        """Have another bound from now on; it takes effect when the bounds are enforced next."""
        self._max_bytes = max_bytes

    def enforce(self, *, before: "Optional[Position]" = None) -> None:
        """Drop messages until the bounds hold, but none that stands at a position or behind it."""
        last = (self._end if before is None else before).number
        while self._messages and (self._bytes > self._max_bytes or self._messages > self._max_messages):
            if not self._drop(last):
                return
            self._dropped()

    def _drop(self, last: int) -> bool:
        """Drop the oldest output, or the oldest message of all where there is no output left; tell whether there was one."""
        while self._first.number < last:
            start, message = self._first, self._recent.pop(self._first.number)
            self._first = Position(start.number + 1, start.offset + message.size)
            if message.outlives_output:
                self._add_old(_Kept(start, message))
                continue
            self._add_old(Gap(start, self._first, message.parent_header))
            self._remove(message)
            return True
        return self._drop_oldest_kept()

    def _add_old(self, item: "Union[_Kept[Message], Gap]") -> None:
        last = self._old[-1] if self._old else None
        if isinstance(last, Gap) and isinstance(item, Gap):
            self._old[-1] = Gap(last.start, item.end, item.parent_header)
            self._old_ends[-1] = item.end.number
        else:
            self._old.append(item)
            self._old_ends.append(item.end.number)

    def _drop_oldest_kept(self) -> bool:
        # Two gaps that touch are one, so the oldest kept message is the first or the second item.
        index, kept = next(((i, item) for i, item in enumerate(self._old[:2]) if isinstance(item, _Kept)), (0, None))
        if kept is None:
            return False
        following = self._old[index + 1] if index + 1 < len(self._old) else None
        end, parent = kept.end, kept.message.parent_header
        self._remove(kept.message)
        last = index
        if isinstance(following, Gap):
            end, parent, last = following.end, following.parent_header, index + 1
        self._old[: last + 1] = [Gap(self._old[0].start, end, parent)]
        self._old_ends[: last + 1] = [end.number]
        return True

    def forget_before(self, position: Position) -> None:
        """Drop everything before a position that no reader will ask for."""
        while self._old and self._old_ends[0] <= position.number:
            item = self._old.pop(0)
            self._old_ends.pop(0)
            if isinstance(item, _Kept):
                self._remove(item.message)
        if self._old:
            return
        while self._first.number < min(position.number, self._end.number):
            message = self._recent.pop(self._first.number)
            self._first = Position(self._first.number + 1, self._first.offset + message.size)
            self._remove(message)

    def go_on_at(self, position: Position) -> None:
        """Drop everything, and number the next message by another position."""
        self.clear()
        self._first = self._end = position

    def clear(self) -> None:
        """Drop everything; positions stay what they were."""
        self.forget_before(self._end)

    def _remove(self, message: Message) -> None:
        self._count(-message.size, -1)
        self._removed(message)

    def _count(self, size: int, messages: int) -> None:
        self._bytes += size
        self._messages += messages
        self._changed(size)

    # ------------------------------------------------------------------------------------------------------- reading

    def read(self, position: Position) -> "Optional[Tuple[Union[Message, Gap], Position]]":
        """Return what stands at a position, and the position behind it; nothing at the log's end."""
        number = position.number
        if number >= self._first.number:
            if number >= self._end.number:
                return None
            message = self._recent[number]
            return message, Position(number + 1, position.offset + message.size)
        index = bisect_right(self._old_ends, number)
        item = self._old[index] if index < len(self._old) else None
        if item is None or item.start.number > number:
            # Nobody was expected to ask for this any more.
            end = self._first if item is None else item.start
            return Gap(position, end), end
        if isinstance(item, Gap):
            return Gap(position, item.end, item.parent_header), item.end
        return item.message, item.end
