"""Where the bytes of the log are: in memory while they are new, in a file once they are many.

The file has no name, so it ends with this process however that ends. It is written in segments, so that room which the log
has given back is given back by the file too.
"""

import errno
import os
import tempfile
from collections import deque
from typing import IO, Callable, Deque, Dict, List, NamedTuple, Optional, Sequence, Tuple

__all__ = ["LogEntry", "Storage"]

_SEGMENTS = 16
_SMALLEST_SEGMENT = 1 << 20
_NO_HEADER = b"{}"


class _Segment:
    """A part of the file, and which entries of the log it still holds."""

    def __init__(self, file: "IO[bytes]") -> None:
        self.file = file
        self.end = 0
        self.entries: "Dict[LogEntry, None]" = {}

    def write(self, data: bytes) -> int:
        self.file.seek(self.end)
        if self.file.write(data) != len(data):
            # What a disk that becomes full took of it is overwritten by whatever comes next, if anything does.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        start, self.end = self.end, self.end + len(data)
        return start

    def read(self, offset: int, size: int) -> bytes:
        self.file.seek(offset)
        data = self.file.read(size)
        if len(data) != size:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return data


class _Stored(NamedTuple):
    segment: _Segment
    offset: int
    lengths: Tuple[int, ...]


class LogEntry:
    """A message of the log, wherever its bytes are.

    Parameters
    ----------
    channel, recipient, by_supervisor, parts
        As in `supervisor_protocol.Entry`.
    message_type
        The type in its header.
    """

    __slots__ = ("_parts", "_stored", "by_supervisor", "channel", "outlives_output", "recipient", "size")

    def __init__(
        self, channel: str, parts: Sequence[bytes], *, recipient: Optional[str], message_type: str, by_supervisor: bool = False
    ) -> None:
        self.channel = channel
        self.recipient = recipient
        self.by_supervisor = by_supervisor
        self.size = sum(map(len, parts))
        self.outlives_output = channel != "iopub" or message_type == "status"
        self._parts: Optional[Sequence[bytes]] = parts
        self._stored: Optional[_Stored] = None

    @property
    def parts(self) -> Sequence[bytes]:
        """Header, parent header, metadata, content, buffers.

        Raises
        ------
        OSError
            The file doesn't give them back.
        """
        if self._parts is not None:
            return self._parts
        if self._stored is None:
            raise AssertionError("an entry that was removed has no parts")
        segment, offset, lengths = self._stored
        data, place, parts = segment.read(offset, sum(lengths)), 0, []
        for length in lengths:
            parts.append(data[place : place + length])
            place += length
        return parts

    @property
    def parent_header(self) -> bytes:
        """JSON of the header of the request that it belongs to; of no request where the file doesn't give it back."""
        try:
            return self.parts[1]
        except OSError:
            return _NO_HEADER

    @property
    def in_memory(self) -> bool:
        """Whether its bytes are in memory."""
        return self._parts is not None

    def store(self, segment: _Segment) -> None:
        """Move its bytes into a segment."""
        parts = self.parts
        offset = segment.write(b"".join(parts))
        if self._stored is not None:
            del self._stored.segment.entries[self]
        self._stored = _Stored(segment, offset, tuple(map(len, parts)))
        self._parts = None
        segment.entries[self] = None

    def remove(self) -> Optional[_Segment]:
        """Let go of its bytes; return the segment that they were in."""
        stored, self._stored, self._parts = self._stored, None, None
        if stored is None:
            return None
        del stored.segment.entries[self]
        return stored.segment


def _new_file() -> "IO[bytes]":
    return tempfile.TemporaryFile(buffering=0)


class Storage:
    """Keeps entries in memory up to a bound, and the older ones in a file.

    Parameters
    ----------
    memory_bytes, file_bytes
        The most of each.
    full
        Called when nothing more can be written, with the bytes that can be kept from then on.
    new_file
        Opens a file for a segment.
    """

    def __init__(
        self,
        *,
        memory_bytes: int,
        file_bytes: int,
        full: Callable[[int], None],
        new_file: "Callable[[], IO[bytes]]" = _new_file,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._segment_bytes = max(_SMALLEST_SEGMENT, file_bytes // _SEGMENTS)
        self._writable = file_bytes > 0
        self._full = full
        self._new_file = new_file
        self._recent: "Deque[LogEntry]" = deque()
        self._segments: List[_Segment] = []
        self.memory_used = 0
        """Bytes of entries that are in memory."""

    @property
    def file_used(self) -> int:
        """Bytes that the file takes."""
        return sum(segment.end for segment in self._segments)

    def add(self, entry: LogEntry) -> None:
        """Keep an entry that is in memory, and move the oldest into the file where that makes too many."""
        self._recent.append(entry)
        self.memory_used += entry.size
        while self.memory_used > self._memory_bytes and self._writable and self._recent:
            oldest = self._recent.popleft()
            if oldest.in_memory:
                self.memory_used -= oldest.size
                self._write(oldest)

    def _write(self, entry: LogEntry) -> None:
        try:
            if not self._segments or self._segments[-1].end >= self._segment_bytes:
                self._segments.append(_Segment(self._new_file()))
                self._compact()
            entry.store(self._segments[-1])
        except OSError:
            # The disk is full, or nothing may be written. What the file has stays; the rest has to do with memory.
            self._writable = False
            self.memory_used += entry.size
            self._recent.appendleft(entry)
            self._full(self._memory_bytes + sum(one.size for segment in self._segments for one in segment.entries))

    def _compact(self) -> None:
        """Rewrite the oldest segment: a few entries that outlive the output around them would keep all of its room."""
        if len(self._segments) > _SEGMENTS + 1:
            for entry in tuple(self._segments[0].entries):
                entry.store(self._segments[-1])
            self._segments.pop(0).file.close()

    def remove(self, entry: LogEntry) -> None:
        """Let go of an entry's bytes."""
        if entry.in_memory:
            self.memory_used -= entry.size
        segment = entry.remove()
        if segment is not None and not segment.entries and segment is not self._segments[-1]:
            self._segments.remove(segment)
            segment.file.close()

    def close(self) -> None:
        """Give the file back."""
        while self._segments:
            self._segments.pop().file.close()
