"""What Spark's JVM logs: copied into the pod's log, and its end remembered for who asks what went wrong."""

import os
import re
import threading
from collections import deque
from typing import Deque, Iterable, Optional

__all__ = ["JavaLog", "last_exception"]

_LINES = 200
_LAST_SECONDS = 2.0
_THREAD = re.compile(r'^Exception in thread "[^"]*" ')
_LOGGED = re.compile(r"^\d{4}-\d\d-\d\d [\d:]+ [A-Z]+ \w+: ")
_THROWN = re.compile(r"[\w.$]+(?:Exception|Error)\b")


def last_exception(lines: Iterable[str]) -> str:
    """Return the first line of the last exception that Java wrote; nothing where there is none."""
    found = next((line for line in reversed(list(lines)) if _THROWN.search(line) and not line.startswith("\tat")), "")
    return _LOGGED.sub("", _THREAD.sub("", found))


class JavaLog:
    """Takes what JVMs log, one after another.

    Parameters
    ----------
    log
        The descriptor of the pod's log: a notebook's cells aren't the place for it.
    """

    def __init__(self, log: int) -> None:
        self._log = log
        self._tail: Deque[str] = deque(maxlen=_LINES)
        self._thread: Optional[threading.Thread] = None

    def open(self) -> int:
        """Return the descriptor for a new JVM; whoever started it closes it. What the last one wrote is forgotten."""
        reading, writing = os.pipe()
        self._tail = deque(maxlen=_LINES)
        self._thread = threading.Thread(target=self._copy, args=(reading, self._tail), name="Spark log", daemon=True)
        self._thread.start()
        return writing

    def _copy(self, reading: int, tail: "Deque[str]") -> None:
        with os.fdopen(reading, errors="replace") as lines:
            for line in lines:
                tail.append(line.rstrip())
                os.write(self._log, line.encode())

    def cause(self) -> str:
        """Return the last exception, once the JVM has ended."""
        if self._thread is not None:
            self._thread.join(_LAST_SECONDS)
        return self.so_far()

    def so_far(self) -> str:
        """Return the last exception until now."""
        return last_exception(self._tail)
