"""Who wants to be told what happens to a kernel, and who learns it from the kernel's output."""

from collections.abc import Sequence
from typing import Protocol

__all__ = ["KernelListener", "OutputWatch"]


class KernelListener(Protocol):
    """Who wants to be told what happens to a kernel; told in the event loop, must not block."""

    def kernel_restarting(self, reason: str | None) -> None:
        """Say that the kernel is being started again; `reason` where it had died."""

    def kernel_restarted(self) -> None:
        """Say that it answers again; `Kernel.generation` tells whether it is reached differently now."""

    def kernel_dead(self, reason: str | None) -> None:
        """Say that it has ended for good, deliberately or not."""


class OutputWatch(Protocol):
    """Who learns a kernel's state from its output, and lets readers lend their eyes."""

    def watched(self, watcher: object) -> None:
        """Let a reader tell what it sees."""

    def seen(self, watcher: object, parts: Sequence[bytes]) -> None:
        """Take note of header, parent header, metadata and content of a message that a reader checked."""

    def unwatched(self, watcher: object) -> None:
        """Look again where a reader doesn't."""

    def replied(self, request_id: str) -> None:
        """Take note of a reply that a reader saw."""
