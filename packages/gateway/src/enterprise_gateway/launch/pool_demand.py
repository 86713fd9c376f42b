"""How many starts of a kind there are, as what decides how many pods wait for them."""

import math
import time
from collections import deque
from collections.abc import Callable

from enterprise_gateway.launch.pool_size import PoolSize

__all__ = ["Demand"]

_MINUTE_SECONDS = 60.0
_MINUTES = 10
_SHARE = 0.95


class Demand:
    """Counts starts over the last ten minutes.

    Parameters
    ----------
    clock
        Seconds that only go forward.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._starts: deque[float] = deque()

    def started(self) -> None:
        """Count a start."""
        self._starts.append(self._clock())

    def wanted(self, size: PoolSize) -> int:
        """Return how many pods are to wait: what 95 of 100 minutes' starts need, within the pool's bounds."""
        now = self._clock()
        while self._starts and self._starts[0] <= now - _MINUTES * _MINUTE_SECONDS:
            self._starts.popleft()
        by_minute = [0] * _MINUTES
        for moment in self._starts:
            by_minute[int((now - moment) // _MINUTE_SECONDS)] += 1
        needed = sorted(by_minute)[math.ceil(_SHARE * _MINUTES) - 1]
        return min(max(needed, size.minimum), size.maximum)
