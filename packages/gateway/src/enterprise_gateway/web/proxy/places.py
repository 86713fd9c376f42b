"""Bounds how many connections to one kernel's ports there are at a time."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from enterprise_gateway.errors import NotSupported, Unavailable

__all__ = ["Places"]

_RETRY_SECONDS = 1.0


class Places:
    """Counts the connections to each kernel's ports.

    Parameters
    ----------
    limit
        The most of one kernel; 0 for none at all.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._taken: Counter[str] = Counter()

    @contextmanager
    def place(self, kernel_id: str) -> Iterator[None]:
        """Hold one connection's place.

        Raises
        ------
        NotSupported
            The administrator allows none.
        Unavailable
            The kernel has as many as it may.
        """
        if not self._limit:
            raise NotSupported("Kernels' ports aren't passed on here: proxy_connections is 0.")
        if self._taken[kernel_id] >= self._limit:
            message = f"Kernel {kernel_id} has {self._limit} connections to its ports already, the most at one time. Try again."
            raise Unavailable(message, retry_after=_RETRY_SECONDS)
        self._taken[kernel_id] += 1
        try:
            yield
        finally:
            self._taken[kernel_id] -= 1
            if not self._taken[kernel_id]:
                del self._taken[kernel_id]
