"""Who stays with a kernel while nobody asks for anything: it learns of the kernel's end, and has it started again or not.

What differs between a kernel that only this process knows and one that other replicas look after as well is behind this
interface; `enterprise_gateway.replicas` has the other one.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from enterprise_gateway.errors import LaunchFailed
from enterprise_gateway.kernels.kernel import Kernel
from enterprise_gateway.kernels.starter import KernelStarter

__all__ = ["KernelOver", "LocalSupervision", "Supervision"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KernelOver:
    """A kernel's end, for good."""

    reason: str | None
    """Words for its clients."""
    forget: bool
    """Whether it is forgotten at once, because somebody wanted its end; else its users can still read why it is dead."""


class Supervision(Protocol):
    """Stays with a kernel, and tells whoever else has to do with it what is done to it on purpose."""

    async def supervise(self, *, started: bool) -> KernelOver:
        """Return when the kernel is over; what it leaves has been taken away.

        Parameters
        ----------
        started
            Whether this process brought it up; else it is somewhere on its way, by another one's doing.
        """

    async def start_again(self) -> None:
        """Restart the kernel because somebody asked for it, and return when it answers.

        Raises
        ------
        LaunchFailed
            It could not be started again.
        """

    async def joins_restart(self) -> bool:
        """Wait for a restart that is another's doing, where there is one; tell whether there was, so that none is needed."""

    async def end_of_restart(self) -> None:
        """Wait for a while for a restart that is another's doing to end, because it would undo what is done meanwhile."""

    def starts_here(self) -> None:
        """Take note that this process brings the kernel up."""

    def tell_start(self) -> None:
        """Let others know that the kernel answers."""

    async def tell_failure(self, words: str) -> None:
        """Let others know that the kernel never came up, and why."""

    async def tell_end(self, *, restart: bool, reason: str | None = None) -> None:
        """Let others know that the kernel is about to end, and why."""

    def let_go(self) -> None:
        """Forget what is known of where the kernel runs; it lives on."""


class LocalSupervision:
    """Of a kernel that nobody else has to do with: starts it again whenever it dies, up to a limit.

    Parameters
    ----------
    kernel, starter
        The kernel, and who brings it up.
    on_restart
        Called with `True` for a restart after a death.
    """

    def __init__(self, *, kernel: Kernel, starter: KernelStarter, on_restart: Callable[[bool], None]) -> None:
        self._kernel = kernel
        self._starter = starter
        self._on_restart = on_restart

    async def supervise(self, *, started: bool = True) -> KernelOver:  # noqa: ARG002  nobody else starts it
        """Return when the kernel is over: a limit of deaths in a row is reached."""
        kernel, starter, deaths = self._kernel, self._starter, 0
        limit = starter.options.restart_limit
        while True:
            alive_since = starter.clock()
            reason = await starter.wait_for_exit()
            deaths = 1 if starter.clock() - alive_since >= starter.options.stable_start_time else deaths + 1
            while deaths <= limit:
                fields = {"kernel_id": kernel.kernel_id, "cause": reason}
                _log.warning("Kernel died and is started again", extra={**fields, "attempt": deaths, "limit": limit})
                kernel.restarting(reason)
                self._on_restart(True)
                try:
                    await starter.restart(now=True, moves=_nobody)
                except LaunchFailed as error:
                    reason, deaths = error.message, deaths + 1
                else:
                    kernel.restarted()
                    break
            else:
                _log.error("Kernel died and is given up", extra={"kernel_id": kernel.kernel_id, "cause": reason})
                await starter.destroy()
                return KernelOver(reason, forget=False)

    async def start_again(self) -> None:
        """Restart the kernel."""
        await self._starter.restart(now=False, moves=_nobody)

    async def joins_restart(self) -> bool:
        """Tell that there is no other restart: one after a death gives way to one that is asked for."""
        return False

    async def end_of_restart(self) -> None:
        """Return: nobody else restarts it."""

    def starts_here(self) -> None:
        """Do nothing: it always does."""

    def tell_start(self) -> None:
        """Do nothing: there is nobody to be told."""

    async def tell_failure(self, words: str) -> None:
        """Do nothing: there is nobody to be told."""

    async def tell_end(self, *, restart: bool, reason: str | None = None) -> None:
        """Do nothing: there is nobody to be told."""

    def let_go(self) -> None:
        """Do nothing: it runs here."""


async def _nobody() -> None:
    """Tell nobody that the kernel gets a new place."""
