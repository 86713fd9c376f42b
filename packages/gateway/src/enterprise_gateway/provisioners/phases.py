"""How long each part of a start took, for who asks where its seconds went."""

import time
from collections.abc import Callable, Mapping

__all__ = ["LaunchPhases"]


class LaunchPhases:
    """Adds up the seconds of a start by phase: each begins where the one before ended.

    Parameters
    ----------
    clock
        Seconds that only go forward.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._seconds: dict[str, float] = {}

    @property
    def seconds(self) -> Mapping[str, float]:
        """The seconds of every phase that has ended."""
        return self._seconds

    def ended(self, phase: str) -> None:
        """Give the time since the end of the one before to a phase."""
        now = self._clock()
        self._seconds[phase] = self._seconds.get(phase, 0.0) + now - self._since
        self._since = now
