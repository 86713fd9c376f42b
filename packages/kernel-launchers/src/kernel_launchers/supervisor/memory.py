"""What the container's control group tells of its memory."""

from pathlib import Path
from typing import Optional

from kernel_launchers.supervisor.control_group import MEMBERSHIP, ROOT, ControlGroup, File, number

__all__ = ["ContainerMemory"]

_KILLS = File("memory.events", "memory.oom_control")
_LIMIT = File("memory.max", "memory.limit_in_bytes")
_PEAK = File("memory.peak", "memory.max_usage_in_bytes")
_CURRENT = File("memory.current", "memory.usage_in_bytes")
_DETAILS = File("memory.stat", "memory.stat")
# Version 1 has no word for "no limit", but a number that no machine reaches.
_NO_LIMIT = 1 << 60


class ContainerMemory:
    """Reads the memory of this process' control group; what a system doesn't tell is `None`."""

    def __init__(self, *, root: Path = ROOT, membership: Path = MEMBERSHIP) -> None:
        self._group = ControlGroup("memory", proof=_KILLS, root=root, membership=membership)

    def kills(self) -> Optional[int]:
        """Return how many processes of the container were killed because memory ran out."""
        return self._group.value(_KILLS, "oom_kill")

    def limit(self) -> Optional[int]:
        """Return how many bytes the container may use; `None` also where it may use all that the node has."""
        limit = number(*self._group.words(_LIMIT))
        return None if limit is None or limit >= _NO_LIMIT else limit

    def peak(self) -> Optional[int]:
        """Return how many bytes the container used at most since it began."""
        return number(*self._group.words(_PEAK))

    def in_use(self) -> Optional[int]:
        """Return how many bytes the container uses, without files that Linux keeps in memory until that is wanted.

        Kubernetes calls it the working set.
        """
        current = number(*self._group.words(_CURRENT))
        # Of version 1 the total, which has the groups below as well.
        spare = self._group.value(_DETAILS, "total_inactive_file", "inactive_file")
        return None if current is None else max(0, current - (spare or 0))
