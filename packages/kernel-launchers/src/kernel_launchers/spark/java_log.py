"""What Spark's JVM logs: copied into the pod's log, and its end remembered for who asks what went wrong."""

import os
import threading
from collections import deque
from typing import Deque, Optional

from kernel_launchers.jvm_process import JvmProcess
from kernel_launchers.spark import driver_jvm
from kernel_launchers.spark.java_words import last_exception
from kernel_launchers.spark.submit import Submission

__all__ = ["JavaLog"]

_LINES = 200
_LAST_SECONDS = 2.0


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

    def start(self, told: Submission) -> JvmProcess:
        """Start Spark's JVM with all that it writes taken here, and return when it answers.

        Raises
        ------
        JvmFailed
            It doesn't.
        """
        descriptor = self.open()
        try:
            return driver_jvm.start(told, stderr=descriptor)
        finally:
            os.close(descriptor)

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
