"""The two times: one that only goes forward and decides, one for people to read."""

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Tells the time; every decision uses `monotonic`, so a clock that is set changes none."""

    def monotonic(self) -> float:
        """Return seconds since some moment; they never go back."""

    def wall(self) -> float:
        """Return seconds since 1970, for people."""


class SystemClock:
    """The clock of this machine."""

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
