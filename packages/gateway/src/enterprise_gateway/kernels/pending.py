"""A start as those see it who asked for it: until when they wait for an answer, and how they hear of a failure."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum, auto

from enterprise_gateway.errors import GatewayError

__all__ = ["PendingStart", "StartState", "words_of_failure"]


class StartState(Enum):
    """How far a start of this process is for its client; it moves downwards only."""

    REFUSABLE = auto()
    """Something that it is made of may still be refused: its client waits."""
    MADE = auto()
    """All that it is made of exists: a client that doesn't want to wait is answered."""
    ANSWERED = auto()
    """A client was answered, and hears from the kernel itself what becomes of it."""
    FAILS = auto()
    """It fails, and what was made is being taken away."""
    HANDED_OVER = auto()
    """This process ends, and another one goes on with what was made."""


class PendingStart:
    """One start, from its request until the kernel is up or never will be.

    Parameters
    ----------
    seconds
        What the start has.
    tell_failure
        Tells the other replicas, in words for the kernel's user, why a kernel never came up that clients know.
    """

    def __init__(self, *, seconds: float, tell_failure: Callable[[str], Awaitable[None]]) -> None:
        self.seconds = seconds
        self.state = StartState.REFUSABLE
        self.was_answered = False
        """Whether a client knows the kernel, so that it stays for a while though it fails."""
        self._tell_failure = tell_failure
        self._made = asyncio.Event()

    def made(self) -> None:
        """Take note that all that the start is made of exists."""
        if self.state is StartState.REFUSABLE:
            self.state = StartState.MADE
            self._made.set()

    async def is_over(
        self, launch: "asyncio.Task[None]", *, patience: float | None, placed: Callable[[], Awaitable[None]] | None
    ) -> bool:
        """Tell whether the start is over: when it is, or when nothing of it can be refused any more and patience ends.

        Parameters
        ----------
        launch
            The start itself, which goes on whoever waits.
        patience
            Seconds; `None` for as long as the start takes.
        placed
            Returns when its place within the limits is decided, where others may take it.
        """
        if patience is not None:
            made = asyncio.ensure_future(self._until_made(placed))
            try:
                await asyncio.wait([launch, made], return_when=asyncio.FIRST_COMPLETED)
            finally:
                made.cancel()
                with suppress(asyncio.CancelledError):
                    await made
        await asyncio.wait([launch], timeout=patience)
        return launch.done()

    async def _until_made(self, placed: Callable[[], Awaitable[None]] | None) -> None:
        await self._made.wait()
        if placed is not None:
            await placed()

    def answered(self) -> None:
        """Take note that a client was answered."""
        self.was_answered = True
        if self.state is StartState.MADE:
            self.state = StartState.ANSWERED

    def hand_over(self) -> None:
        """Leave what was made to another process, whatever ends the start here."""
        self.state = StartState.HANDED_OVER

    @property
    def is_handed_over(self) -> bool:
        """Whether another process goes on with it."""
        return self.state is StartState.HANDED_OVER

    async def fails(self, words: str) -> None:
        """Tell the other replicas why the kernel never came up, where a client may ask them for it."""
        before, self.state = self.state, StartState.FAILS
        if before is StartState.ANSWERED:
            await self._tell_failure(words)


def words_of_failure(error: BaseException, *, draining: bool) -> str:
    """Return why a start failed, for the kernel's user.

    Parameters
    ----------
    draining
        Whether the gateway is being stopped.
    """
    if isinstance(error, GatewayError):
        return error.message
    if isinstance(error, asyncio.CancelledError):
        return "The gateway was stopped while the kernel started." if draining else "The kernel was deleted while it started."
    return type(error).__name__
