"""The supervisor's event loop."""

import heapq
import math
import select
import time
from itertools import count
from typing import Any, Callable, Dict, List, Optional, Tuple

__all__ = ["READ", "WRITE", "Loop", "Timer"]

READ, WRITE = select.POLLIN, select.POLLOUT

Callback = Callable[[], None]
Descriptor = Any
"""A number, or whatever else the loop's poller can watch."""


class Timer:
    """A callback that runs once, unless it is cancelled first."""

    def __init__(self, callback: Callback) -> None:
        self._callback: Optional[Callback] = callback

    def cancel(self) -> None:
        """Never run the callback."""
        self._callback = None

    def run(self) -> None:
        """Run the callback if nobody has cancelled it."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Loop:
    """Runs callbacks when their descriptor is ready or their time has come, one after the other in one thread.

    `select.poll` and not `epoll`: a container's log may be a regular file, which epoll refuses.
    """

    def __init__(self, *, poller: Any = None, clock: Callable[[], float] = time.monotonic) -> None:  # noqa: ANN401  typeshed hides select.poll's type
        self._poller = select.poll() if poller is None else poller
        self._clock = clock
        self._watched: Dict[Descriptor, Tuple[int, Callback]] = {}
        self._timers: List[Tuple[float, int, Timer]] = []
        self._order = count()
        self._running = False

    def use(self, poller: Any) -> None:  # noqa: ANN401  as above
        """Wait by another poller from now on, for what is watched already as well."""
        self._poller = poller
        for descriptor, (events, _) in self._watched.items():
            poller.register(descriptor, events)

    def watch(self, descriptor: Descriptor, events: int, callback: Callback) -> None:
        """Run a callback whenever a descriptor is ready for `READ` or `WRITE`, or is broken; replaces an earlier one."""
        if self._watched.get(descriptor, (0,))[0] != events:
            self._poller.register(descriptor, events)
        self._watched[descriptor] = events, callback

    def forget(self, descriptor: Descriptor) -> None:
        """Watch a descriptor no longer; it may be one that isn't watched."""
        if self._watched.pop(descriptor, None) is not None:
            self._poller.unregister(descriptor)

    def call_later(self, seconds: float, callback: Callback) -> Timer:
        """Run a callback once, some seconds from now."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (self._clock() + seconds, next(self._order), timer))
        return timer

    def run(self) -> None:
        """Run callbacks until one of them calls `stop`."""
        self._running = True
        while self._running:
            ready = [(descriptor, self._watched[descriptor]) for descriptor, _ in self._poller.poll(self._patience())]
            for descriptor, watched in ready:
                # A callback before this one may have closed it, and another file may have its number by now. What is watched
                # anew waits for the next round.
                if self._watched.get(descriptor) is watched:
                    watched[1]()
            while self._timers and self._timers[0][0] <= self._clock():
                heapq.heappop(self._timers)[2].run()

    def stop(self) -> None:
        """Have `run` return once the callbacks of this round are through."""
        self._running = False

    def _patience(self) -> Optional[int]:
        if not self._timers:
            return None
        return max(0, math.ceil((self._timers[0][0] - self._clock()) * 1000))
