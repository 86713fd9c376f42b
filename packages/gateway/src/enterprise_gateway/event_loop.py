"""Whether the event loop turns, and how late it is with what it has to do."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable

__all__ = ["EventLoopMonitor"]

_log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 1.0
# Longer than the time between two scrapes, so that Prometheus sees every delay once at least.
_WINDOW_SECONDS = 60.0
_LONG_SECONDS = 5.0


class EventLoopMonitor:
    """Measures the delay of the event loop's timers from within, for askers within and in other threads.

    Parameters
    ----------
    clock, sleep
        Seconds that only go forward, and how to wait for some of them.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._due: float | None = None
        self._delays: deque[tuple[float, float]] = deque()

    async def run(self) -> None:
        """Measure until cancelled."""
        try:
            while True:
                self._due = self._clock() + _INTERVAL_SECONDS
                await self._sleep(_INTERVAL_SECONDS)
                self._note(self._overdue())
        finally:
            self._due = None

    def _note(self, delay: float) -> None:
        self._delays.append((self._clock(), delay))
        if delay >= _LONG_SECONDS:
            _log.warning("The event loop was busy with one turn for long", extra={"seconds": round(delay, 1)})

    def _overdue(self) -> float:
        # Read once: another thread may ask while the loop begins to wait anew.
        due = self._due
        return 0.0 if due is None else max(0.0, self._clock() - due)

    @property
    def stalled_seconds(self) -> float:
        """For how long the loop hasn't turned that should have; any thread may ask."""
        return self._overdue()

    @property
    def lag(self) -> float:
        """The longest delay of the last minute, in seconds; only the loop itself may ask."""
        now = self._clock()
        while self._delays and self._delays[0][0] < now - _WINDOW_SECONDS:
            self._delays.popleft()
        # Whoever asks may do so within the very turn that is late.
        return max([self._overdue(), *(delay for _, delay in self._delays)])
