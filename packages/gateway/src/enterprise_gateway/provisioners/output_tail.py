"""What a kernel's process of this machine writes, of which the last lines are kept: they say why a start failed."""

import asyncio
import logging
import os
from collections import deque

__all__ = ["OutputTail"]

_log = logging.getLogger(__name__)

_KEPT_LINES = 10
_KEPT_LINE_BYTES = 500
_READ_BYTES = 65536


class OutputTail:
    """Reads what a process writes, hands each line to the log and keeps the last few."""

    def __init__(self) -> None:
        self.kernel_id = ""
        """Of the kernel that the process is, once it is one's."""
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._rest = b""
        self._read_end, self.write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # Only the reading end must not block; a kernel that writes faster than we read has to wait as on any pipe.
        os.set_blocking(self.write_end, True)
        asyncio.get_running_loop().add_reader(self._read_end, self._readable)

    def close_write_end(self) -> None:
        """Leave the writing end to the process, which has it by now."""
        os.close(self.write_end)

    def close(self) -> None:
        """Read no more."""
        if self._read_end >= 0:
            asyncio.get_running_loop().remove_reader(self._read_end)
            os.close(self._read_end)
            self._read_end = -1

    def last_lines(self) -> list[str]:
        """Return the last lines that were written, those included that nobody has read yet."""
        if self._read_end >= 0:
            self._readable()
        return [*self._lines, *filter(None, [self._shown(self._rest)])]

    def _readable(self) -> None:
        try:
            data = os.read(self._read_end, _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self.close()
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_KEPT_LINE_BYTES:]
        for line in lines:
            if shown := self._shown(line):
                self._lines.append(shown)
                _log.debug("Kernel wrote", extra={"kernel_id": self.kernel_id, "line": shown})

    @staticmethod
    def _shown(line: bytes) -> str:
        return line[-_KEPT_LINE_BYTES:].decode(errors="replace").strip()
