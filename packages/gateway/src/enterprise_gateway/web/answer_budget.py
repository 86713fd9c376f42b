"""Bounds what all large answers together take of memory while their clients read them."""

from collections.abc import Iterator
from contextlib import contextmanager

from enterprise_gateway.errors import Unavailable

__all__ = ["AnswerBudget", "Share"]

_RETRY_SECONDS = 5.0


class Share:
    """What one answer takes; it may change."""

    def __init__(self, budget: "AnswerBudget") -> None:
        self._budget = budget
        self._size = 0

    def resize(self, size: int) -> None:
        """Take so many bytes in place of those before.

        Raises
        ------
        Unavailable
            All answers together would take too many; this one then keeps what it had.
        """
        self._budget.take(size - self._size)
        self._size = size


class AnswerBudget:
    """Counts the bytes of answers that wait for clients who read slowly.

    Parameters
    ----------
    limit
        The most at one time. One answer alone may take more, or it could never be given.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._taken = 0

    def take(self, size: int) -> None:
        """Take more bytes, or give some back where there are fewer than none; raises `Unavailable`."""
        if size > 0 and self._taken and self._taken + size > self._limit:
            message = "The gateway sends too much to clients that read slowly. Try again, or read faster."
            raise Unavailable(message, retry_after=_RETRY_SECONDS)
        self._taken += size

    @contextmanager
    def share(self) -> Iterator[Share]:
        """Return the share of one answer, which it gives back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            share.resize(0)
