"""What the kernel said, and what clients asked of it: numbered, bounded, and there for whichever gateway comes."""

from typing import IO, Callable, List, Optional, Tuple, Union

from enterprise_gateway_common.message_log import Gap, MessageLog, Position
from enterprise_gateway_common.supervisor_protocol import Entry
from kernel_launchers.link.storage import LogEntry, Storage

__all__ = ["KernelLog"]


class KernelLog:
    """A log of messages in memory and a file.

    Parameters
    ----------
    memory_bytes, file_bytes
        The most that is kept in each.
    max_messages
        The most messages that are kept.
    new_file
        Opens a file for a part of the log.
    """

    def __init__(
        self,
        *,
        memory_bytes: int,
        file_bytes: int,
        max_messages: int,
        new_file: "Optional[Callable[[], IO[bytes]]]" = None,
    ) -> None:
        files = {} if new_file is None else {"new_file": new_file}
        self._storage = Storage(memory_bytes=memory_bytes, file_bytes=file_bytes, full=self._disk_is_full, **files)
        self._log: "MessageLog[LogEntry]" = MessageLog(
            max_bytes=memory_bytes + file_bytes, max_messages=max_messages, removed=self._storage.remove
        )
        self._most = memory_bytes + file_bytes

    def _disk_is_full(self, most: int) -> None:
        self._most = most
        self._log.limit(most)

    @property
    def begin(self) -> Position:
        """Where the oldest entry stood, or stands, of which something is known."""
        return self._log.begin

    @property
    def end(self) -> Position:
        """Where the next entry will stand."""
        return self._log.end

    @property
    def capacity(self) -> int:
        """Bytes that are kept at most."""
        return self._most

    def append(self, entry: LogEntry) -> Position:
        """Add an entry, whatever the bounds say; return where it stands."""
        position = self._log.append(entry)
        self._storage.add(entry)
        return position

    def enforce(self, *, before: Position) -> None:
        """Drop what the bounds don't allow, but nothing that stands at a position or behind it."""
        self._log.enforce(before=before)

    def read(self, position: Position) -> "Optional[Tuple[Union[Entry, Gap], Position]]":
        """Return what stands at a position, and the position behind it; nothing at the log's end."""
        found = self._log.read(position)
        if found is None:
            return None
        item, behind = found
        if isinstance(item, Gap):
            return item, behind
        try:
            return Entry(position, item.channel, item.recipient, item.by_supervisor, item.parts), behind
        except OSError:
            # A disk that fails costs what is on it, and not the kernel.
            return Gap(position, behind, item.parent_header), behind

    def page(self, position: Position, *, before: Position, max_bytes: int) -> "Tuple[List[Union[Entry, Gap]], Position]":
        """Return what stands from a position on, one item at least and then so many bytes, and the position behind it."""
        items: List[Union[Entry, Gap]] = []
        size = 0
        while position.number < before.number and size < max_bytes:
            found = self.read(position)
            if found is None:
                break
            item, behind = found
            size += 1 if isinstance(item, Gap) else behind.offset - position.offset
            items.append(item)
            position = behind
        return items, position

    def close(self) -> None:
        """Give the file back."""
        self._storage.close()
