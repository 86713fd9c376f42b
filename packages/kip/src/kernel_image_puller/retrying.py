"""When to try again: per image, per registry and per hour. Nothing here sleeps; everything answers with a time.

A wait never holds a thread: the schedule keeps an image back until its time has come, and the threads serve others.
"""

import random
from collections import deque
from dataclasses import dataclass, field

from tenacity import RetryCallState, Retrying, stop_after_attempt, wait_exponential_jitter

__all__ = ["PullFrequency", "RegistryBackoff", "RetryPolicy"]

_HOUR = 3600.0
_LONGEST_RETRY_AFTER = _HOUR
_JITTER_AT_THE_CAP = 0.2


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How many tries a series has, and the capped exponential waits with jitter between them."""

    tries: int
    first_wait: float
    longest_wait: float

    def is_exhausted(self, tries: int) -> bool:
        """Tell whether a series is over after so many tries."""
        return bool(stop_after_attempt(self.tries)(_state(tries)))

    def wait(self, tries: int, retry_after: float | None = None) -> float:
        """Return the seconds to wait after so many tries, at least what the registry asked for up to an hour."""
        # Beyond 64 doublings every wait is the longest one; the exponent itself would overflow a float.
        waiting = wait_exponential_jitter(multiplier=self.first_wait, max=self.longest_wait, jitter=self.first_wait)
        own = waiting(_state(min(tries, 64)))
        if own >= self.longest_wait:
            # The cap takes the jitter away, and all nodes would come back to a registry in step.
            own *= 1.0 - _JITTER_AT_THE_CAP * random.random()  # noqa: S311  spreads load, protects nothing
        return max(own, min(retry_after or 0.0, _LONGEST_RETRY_AFTER))


def _state(attempt: int) -> RetryCallState:
    state = RetryCallState(_RETRYING, None, (), {})
    state.attempt_number = attempt
    return state


_RETRYING = Retrying()


@dataclass
class _Registry:
    failures: int = 0
    not_before: float = 0.0


@dataclass
class RegistryBackoff:
    """Keeps all pulls away from a registry that has trouble of its own, and lets one through to see whether it is over.

    A registry that works has no entry, so this never grows beyond the registries that fail.
    """

    policy: RetryPolicy
    _registries: dict[str, _Registry] = field(default_factory=dict)

    def failed(self, registry: str, now: float, retry_after: float | None) -> None:
        """Note that a registry was busy or away."""
        entry = self._registries.setdefault(registry, _Registry())
        if now < entry.not_before:
            # This pull had begun before the failure that is already counted: the same trouble, seen twice.
            return
        entry.failures += 1
        entry.not_before = now + self.policy.wait(entry.failures, retry_after)

    def answered(self, registry: str) -> None:
        """Note that a registry did what a registry does, even if it was to refuse."""
        self._registries.pop(registry, None)

    def blocked_until(self, registry: str) -> float:
        """Return the time before which nothing may be pulled from a registry."""
        entry = self._registries.get(registry)
        return entry.not_before if entry else 0.0

    def is_suspect(self, registry: str) -> bool:
        """Tell whether a registry failed the last time, so that one pull at a time is enough."""
        return registry in self._registries


@dataclass
class PullFrequency:
    """Counts how often an image was brought to the node within the last hour."""

    most_per_hour: int
    _times: deque[float] = field(default_factory=deque)

    def record(self, now: float) -> None:
        """Note that the image was brought."""
        self._times.append(now)
        while len(self._times) > self.most_per_hour:
            self._times.popleft()

    def next_time(self, now: float) -> float | None:
        """Return when the image may be brought again, or `None` when that is now."""
        if len(self._times) < self.most_per_hour or now >= self._times[0] + _HOUR:
            return None
        return self._times[0] + _HOUR
