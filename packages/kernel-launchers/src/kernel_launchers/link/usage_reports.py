"""Tells gateways now and then what the kernel's container uses."""

from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from kernel_launchers.supervisor.loop import Loop
    from kernel_launchers.supervisor.usage import Usage, UsageMeter

__all__ = ["UsageReports"]

_SECONDS = 10.0
_FIRST_SECONDS = 2.0  # by then a kernel has loaded most of what it does


class UsageReports:
    """Measures every ten seconds, and tells what has changed since it told something.

    Parameters
    ----------
    tell
        Told what was measured.
    """

    def __init__(self, *, loop: "Loop", meter: "UsageMeter", tell: "Callable[[Usage], None]") -> None:
        self._loop = loop
        self._meter = meter
        self._tell = tell
        self._told = meter.latest
        self._timer = loop.call_later(_FIRST_SECONDS, self._report)

    def _report(self) -> None:
        self._timer = self._loop.call_later(_SECONDS, self._report)
        usage = self._meter.measure()
        if usage.differs(self._told):
            self._told = usage
            self._tell(usage)

    def close(self) -> None:
        """Measure no more."""
        self._timer.cancel()
