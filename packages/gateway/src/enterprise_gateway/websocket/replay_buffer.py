"""Messages that wait for a client: in order, bounded for each kernel, with a gap in the place of what had to go."""

from collections import deque
from collections.abc import Callable, Iterable
from weakref import WeakSet

from enterprise_gateway.websocket.messages import Gap, Item, KernelMessage, MalformedMessage

__all__ = ["ReplayBudget", "ReplayBuffer"]


class ReplayBudget:
    """Holds all buffers of one kernel to common bounds; the fullest one gives way first.

    Parameters
    ----------
    max_bytes, max_messages
        The bounds.
    changed
        Told how many bytes more are kept, or fewer.
    dropped
        Told of each message that had to go.
    """

    def __init__(self, *, max_bytes: int, max_messages: int, changed: Callable[[int], None], dropped: Callable[[], None]) -> None:
        self._max_bytes = max_bytes
        self._max_messages = max_messages
        self._changed = changed
        self._dropped = dropped
        self._buffers: WeakSet[ReplayBuffer] = WeakSet()
        self._bytes = 0
        self._messages = 0

    def join(self, buffer: "ReplayBuffer") -> None:
        """Count a buffer from now on."""
        self._buffers.add(buffer)

    def charge(self, size: int, messages: int) -> None:
        """Count what was added or taken."""
        self._bytes += size
        self._messages += messages
        self._changed(size)

    def enforce(self) -> None:
        """Drop messages until the bounds hold."""
        while self._messages and (self._bytes > self._max_bytes or self._messages > self._max_messages):
            by_bytes = self._bytes > self._max_bytes
            max(self._buffers, key=lambda buffer: buffer.size if by_bytes else len(buffer)).drop()
            self._dropped()


class ReplayBuffer:
    """Messages for one session, in order; when there are too many the oldest output is replaced by a gap.

    Replies and the kernel's states outlive output: a client that never hears of them waits for ever.

    Parameters
    ----------
    budget
        The bounds that it shares with the kernel's other sessions.
    """

    def __init__(self, *, budget: ReplayBudget) -> None:
        self._budget = budget
        self._kept: deque[Item] = deque()
        self._items: deque[Item] = deque()
        self._messages = 0
        self._bytes = 0
        budget.join(self)

    @property
    def size(self) -> int:
        """Bytes of the messages."""
        return self._bytes

    def __len__(self) -> int:
        """Return the number of messages; a gap is none."""
        return self._messages

    def __bool__(self) -> bool:
        return bool(self._kept or self._items)

    def append(self, message: KernelMessage) -> None:
        """Add a message at the end."""
        self._items.append(message)
        self._charge(message, 1)
        self._budget.enforce()

    def prepend(self, items: Iterable[Item]) -> None:
        """Put what was before everything else back in its place."""
        ordered = list(items)
        self._items.extendleft(reversed([*ordered, *self._kept]))
        self._kept.clear()
        for item in ordered:
            self._charge(item, 1)
        self._budget.enforce()

    def pop(self) -> Item:
        """Take the first item."""
        item = (self._kept or self._items).popleft()
        self._charge(item, -1)
        return item

    def clear(self) -> None:
        """Drop everything."""
        while self:
            self.pop()

    def drop(self) -> None:
        """Replace the oldest output by a gap; the oldest message of all where there is no output left."""
        while self._items:
            item = self._items.popleft()
            if isinstance(item, Gap):
                self._note(item)
            elif _is_output(item):
                self._charge(item, -1)
                self._note(_gap(item))
                return
            else:
                self._kept.append(item)
        self._drop_first_kept()

    def _drop_first_kept(self) -> None:
        gaps: list[Gap] = []
        while self._kept:
            item = self._kept.popleft()
            gaps.append(_gap(item))
            if not isinstance(item, Gap):
                self._charge(item, -1)
                break
        if self._kept and isinstance(following := self._kept[0], Gap):
            gaps.append(following)
            self._kept.popleft()
        if gaps:
            self._kept.appendleft(Gap(sum(gap.messages for gap in gaps), sum(gap.size for gap in gaps), gaps[-1].parent))

    def _note(self, gap: Gap) -> None:
        last = self._kept[-1] if self._kept else None
        if isinstance(last, Gap):
            self._kept[-1] = last + gap
        else:
            self._kept.append(gap)

    def _charge(self, item: Item, sign: int) -> None:
        if not isinstance(item, Gap):
            size = sign * item.size
            self._messages += sign
            self._bytes += size
            self._budget.charge(size, sign)


def _gap(item: Item) -> Gap:
    return item if isinstance(item, Gap) else Gap(1, item.size, item.parts[1])


def _is_output(message: KernelMessage) -> bool:
    if message.channel != "iopub":
        return False
    try:
        return message.header.msg_type != "status"
    except MalformedMessage:
        return True
