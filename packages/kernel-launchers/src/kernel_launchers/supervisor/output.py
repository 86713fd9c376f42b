"""What a kernel writes to its standard output and error: passed on to the container's log, its end kept."""

import os
import select
from contextlib import suppress
from typing import List

from kernel_launchers.supervisor.loop import READ, WRITE, Loop

__all__ = ["Output", "Tail", "write_soon"]

# Linux takes this much from whoever was told that a pipe is writable, without making it wait.
_CHUNK = select.PIPE_BUF
_CHUNKS_OF_A_PIPE = 32
_LONGEST_TAIL = 2048
_LAST_MILLISECONDS = 200


class Tail:
    """The end of what was written: at most some bytes, from the beginning of a line where there is one."""

    def __init__(self, longest: int = _LONGEST_TAIL) -> None:
        self._longest = longest
        self._kept = b""

    def add(self, data: bytes) -> None:
        """Remember what was written."""
        self._kept = (self._kept + data)[-self._longest - 1 :]

    def text(self) -> str:
        """Return the end as text."""
        kept = self._kept
        if len(kept) > self._longest:
            _, separator, rest = kept.partition(b"\n")
            kept = rest if separator else kept[1:]
        return kept.decode("utf-8", "replace").strip()


class Output:
    """Copies one stream of the kernel to one of this process, as fast as that takes it; nothing here waits for the log.

    A log that takes nothing more makes the kernel wait, as if it wrote there itself.
    """

    def __init__(self, loop: Loop, *, destination: int, tail: Tail) -> None:
        self._loop = loop
        self._destination = destination
        self._tail = tail
        self._waiting = b""
        self._broken = False
        self._source, self.inlet = os.pipe()
        """`inlet` is for the kernel."""

    def begin(self) -> None:
        """Copy from now on; the kernel has the inlet."""
        os.close(self.inlet)
        self._loop.watch(self._source, READ, self._read)

    def _read(self) -> None:
        data = os.read(self._source, _CHUNK)
        if not data:
            self._loop.forget(self._source)
            return
        self._tail.add(data)
        if self._broken:
            return
        self._waiting = data
        self._loop.forget(self._source)
        self._write()

    def _write(self) -> None:
        # Asked anew: standard output and error are often one pipe, and the other stream may have filled it.
        if not _ready(self._destination, WRITE):
            self._loop.watch(self._destination, WRITE, self._write)
            return
        self._loop.forget(self._destination)
        try:
            self._waiting = self._waiting[os.write(self._destination, self._waiting) :]
        except OSError:
            # Nobody reads the log any more. The kernel goes on, and its last words are kept.
            self._waiting, self._broken = b"", True
        if self._waiting:
            self._loop.watch(self._destination, WRITE, self._write)
        else:
            self._loop.watch(self._source, READ, self._read)

    def end(self) -> None:
        """Pass on what the kernel wrote before it ended, as far as the log takes it soon."""
        pending: List[bytes] = [self._waiting] if self._waiting else []
        # Not until the pipe is closed: a process that left the kernel's group may hold it, and write to it, for ever.
        while len(pending) < _CHUNKS_OF_A_PIPE and _ready(self._source, READ):
            data = os.read(self._source, _CHUNK)
            if not data:
                break
            self._tail.add(data)
            pending.append(data)
        for data in pending:
            if self._broken or not _ready(self._destination, WRITE, milliseconds=_LAST_MILLISECONDS):
                break
            with suppress(OSError):  # nobody reads the log any more
                os.write(self._destination, data)

    def close(self) -> None:
        """Have the loop forget both streams."""
        self._loop.forget(self._source)
        self._loop.forget(self._destination)
        os.close(self._source)


def write_soon(descriptor: int, data: bytes) -> None:
    """Write what a descriptor takes within a moment; what it doesn't take is lost, and nothing waits for it.

    Raises
    ------
    OSError
        Nobody reads there any more.
    """
    while data and _ready(descriptor, WRITE, milliseconds=_LAST_MILLISECONDS):
        data = data[os.write(descriptor, data[:_CHUNK]) :]


def _ready(descriptor: int, event: int, *, milliseconds: int = 0) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(milliseconds))
