"""What a provisioner tells of a start that is under way, for who waits for it or for part of it."""

from typing import Protocol

__all__ = ["LaunchProgress", "NobodyWaits"]


class LaunchProgress(Protocol):
    """Told how far a start is."""

    @property
    def is_handed_over(self) -> bool:
        """Whether what was made stays for another process, which goes on with it."""

    def made(self) -> None:
        """Take note that everything exists that the start is made of: what follows is waiting, and nothing can be refused."""

    async def fails(self, words: str) -> None:
        """Tell whoever must know, before what was made is taken away, why the kernel never came up."""


class NobodyWaits:
    """Where nobody wants to know: a restart, or a plain Jupyter Server's start."""

    is_handed_over = False

    def made(self) -> None:
        """Do nothing."""

    async def fails(self, words: str) -> None:
        """Do nothing."""
