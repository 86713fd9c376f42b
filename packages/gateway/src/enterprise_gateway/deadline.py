"""One budget of time for all steps of something."""

import time
from collections.abc import Callable

__all__ = ["Deadline"]


class Deadline:
    """A moment by which something must be over, on a clock that nobody sets."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds
        self.seconds = seconds

    def left(self) -> float:
        """Return the seconds until the moment; never less than zero."""
        return max(0.0, self._end - self._clock())

    def capped(self, seconds: float) -> "Deadline":
        """Return this deadline, or an earlier one where it leaves more than some seconds."""
        return self if self.seconds <= seconds else Deadline(self.within(seconds), clock=self._clock)

    def within(self, seconds: float) -> float:
        """Return the seconds that one step may take: its own, or what is left."""
        return min(seconds, self.left())
