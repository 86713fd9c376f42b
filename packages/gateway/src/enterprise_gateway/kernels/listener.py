"""Who wants to be told what happens to a kernel."""

from typing import Protocol

__all__ = ["KernelListener"]


class KernelListener(Protocol):
    """Who wants to be told what happens to a kernel; told in the event loop, must not block."""

    def kernel_restarting(self, reason: str | None) -> None:
        """Say that the kernel is being started again; `reason` where it had died."""

    def kernel_restarted(self) -> None:
        """Say that it answers again; `Kernel.generation` tells whether it is reached differently now."""

    def kernel_dead(self, reason: str | None) -> None:
        """Say that it has ended for good, deliberately or not."""
