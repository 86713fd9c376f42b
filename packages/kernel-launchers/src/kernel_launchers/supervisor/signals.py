"""Signals that the supervisor gets, as events of its loop."""

import os
import signal
from contextlib import suppress
from types import FrameType
from typing import Any, Dict, Iterable, Optional

__all__ = ["SignalInlet"]

_AT_ONCE = 4096


class SignalInlet:
    """Holds every signal until the loop reads it, so that none interrupts the supervisor halfway through something.

    The first process of a container gets only the signals that it has a handler for.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self._reader, self._writer = os.pipe()
        for descriptor in (self._reader, self._writer):
            os.set_blocking(descriptor, False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._before: Dict[int, Any] = {number: signal.signal(number, _held) for number in numbers}

    def fileno(self) -> int:
        """Return the descriptor that is readable while signals are held."""
        return self._reader

    def read(self) -> bytes:
        """Return the numbers of the signals that came since the last call."""
        with suppress(BlockingIOError):  # somebody read them already
            return os.read(self._reader, _AT_ONCE)
        return b""

    def close(self) -> None:
        """Have signals do what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._reader)
        os.close(self._writer)


def _held(_signum: int, _frame: Optional[FrameType]) -> None:
    """Do nothing: that there is a handler makes Python write the signal's number into the pipe."""
