"""What the container's control group tells of its processor time."""

from pathlib import Path
from typing import Optional

from kernel_launchers.supervisor.control_group import MEMBERSHIP, ROOT, ControlGroup, File, number

__all__ = ["ContainerProcessor"]

_USED = File("cpu.stat", "cpuacct.usage")
_QUOTA = File("cpu.max", "cpu.cfs_quota_us")
_PERIOD = File("cpu.max", "cpu.cfs_period_us")
_MICROSECONDS, _NANOSECONDS = 1e6, 1e9


class ContainerProcessor:
    """Reads the processor time of this process' control group; what a system doesn't tell is `None`."""

    def __init__(self, *, root: Path = ROOT, membership: Path = MEMBERSHIP) -> None:
        self._time = ControlGroup("cpuacct", proof=_USED, root=root, membership=membership)
        self._quota = ControlGroup("cpu", proof=_QUOTA, root=root, membership=membership)

    def seconds(self) -> Optional[float]:
        """Return how many seconds of processor time the container has used."""
        microseconds = self._time.value(_USED, "usage_usec")
        if microseconds is not None:
            return microseconds / _MICROSECONDS
        nanoseconds = number(*self._time.words(_USED))
        return None if nanoseconds is None else nanoseconds / _NANOSECONDS

    def limit(self) -> Optional[float]:
        """Return how many cores the container may use; `None` also where it may use all that the node has."""
        # Version 2 has both numbers in one file.
        quota, period = number(*self._quota.words(_QUOTA)[:1]), number(*self._quota.words(_PERIOD)[-1:])
        return quota / period if quota and period else None
