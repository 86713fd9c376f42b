"""How often the cluster may be asked for kernels that nobody here knows."""

import time
from collections.abc import Callable

from enterprise_gateway.errors import Unavailable

__all__ = ["LookUpBudget"]

_PER_SECOND = 10.0
_AT_ONCE = 20.0
# Long enough for one client that insists, short enough for a kernel that is started meanwhile.
_REMEMBERED_SECONDS = 0.5
_REMEMBERED = 1000


class LookUpBudget:
    """Bounds the calls that unknown ids cost, in all and for one id.

    Parameters
    ----------
    clock
        Seconds that only go forward.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left, self._at = _AT_ONCE, clock()
        self._asked: dict[str, float] = {}

    def allows(self, kernel_id: str) -> bool:
        """Tell whether to ask for an id; it was asked for a moment ago where not.

        Raises
        ------
        Unavailable
            Too many were asked for.
        """
        now = self._clock()
        self._asked = {asked: until for asked, until in self._asked.items() if until > now}
        if kernel_id in self._asked:
            return False
        self._left, self._at = min(_AT_ONCE, self._left + (now - self._at) * _PER_SECOND), now
        if self._left < 1 or len(self._asked) >= _REMEMBERED:
            raise Unavailable("Too many unknown kernels were asked for; try again in a moment.", retry_after=1 / _PER_SECOND)
        self._left -= 1
        self._asked[kernel_id] = now + _REMEMBERED_SECONDS
        return True

    def forget(self, kernel_id: str) -> None:
        """Take back that an id was asked for: there was no answer."""
        self._asked.pop(kernel_id, None)
