"""How much memory and processor a kernel's container uses."""

import time
from typing import Callable, NamedTuple, Optional

from kernel_launchers.supervisor.memory import ContainerMemory
from kernel_launchers.supervisor.processor import ContainerProcessor

__all__ = ["Usage", "UsageMeter"]

_NOTICEABLE_BYTES = 1 << 20
_NOTICEABLE_CORES = 0.01


class Usage(NamedTuple):
    """What is used, and what may be; `None` for what the system doesn't tell, and where there is no limit."""

    memory_bytes: Optional[int]
    memory_limit_bytes: Optional[int]
    cpu_cores: Optional[float]
    """The mean since the measurement before."""
    cpu_limit_cores: Optional[float]

    def differs(self, other: "Usage") -> bool:
        """Tell whether anybody would see a difference."""
        return (
            (self.memory_limit_bytes, self.cpu_limit_cores) != (other.memory_limit_bytes, other.cpu_limit_cores)
            or abs((self.memory_bytes or 0) - (other.memory_bytes or 0)) >= _NOTICEABLE_BYTES
            or abs((self.cpu_cores or 0) - (other.cpu_cores or 0)) >= _NOTICEABLE_CORES
        )


class UsageMeter:
    """Measures the container of this process, the kernel's with all that it runs and its supervisor.

    Parameters
    ----------
    clock
        Seconds that only go forward.
    """

    def __init__(
        self,
        memory: Optional[ContainerMemory] = None,
        processor: Optional[ContainerProcessor] = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._memory = ContainerMemory() if memory is None else memory
        self._processor = ContainerProcessor() if processor is None else processor
        self._clock = clock
        self._before = (clock(), self._processor.seconds())
        self.latest = Usage(self._memory.in_use(), self._memory.limit(), None, self._processor.limit())
        """What was measured last."""

    def measure(self) -> Usage:
        """Return what is used now."""
        now, seconds = self._clock(), self._processor.seconds()
        before, seconds_before = self._before
        self._before = now, seconds
        cores = None
        if seconds is not None and seconds_before is not None and now > before:
            cores = round(max(0.0, seconds - seconds_before) / (now - before), 3)
        self.latest = Usage(self._memory.in_use(), self._memory.limit(), cores, self._processor.limit())
        return self.latest
