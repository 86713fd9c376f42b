"""How the end of a kernel becomes known: at once where its provisioner can tell, by polling where it can't."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

__all__ = ["ReportsExit", "SaysWhatItWaitsFor", "exit_words", "says_what_it_waits_for", "wait_for_exit", "waiting_words"]

# jupyter_client itself looks every three seconds; asking a provisioner is a look into its memory.
_POLL_SECONDS = 1.0


@runtime_checkable
class ReportsExit(Protocol):
    """A provisioner that knows when its kernel ended, and why."""

    async def wait_for_exit(self) -> str:
        """Return why the kernel ended, in words for its user, as soon as it has."""


@runtime_checkable
class SaysWhatItWaitsFor(Protocol):
    """A provisioner whose starts can take long for a reason that it knows."""

    def waiting_words(self) -> str | None:
        """Return what keeps a starting kernel from running just now, in words for its user."""


def says_what_it_waits_for(provisioner: object) -> bool:
    """Tell whether a provisioner keeps a start's deadline itself and knows why it isn't over."""
    return isinstance(provisioner, SaysWhatItWaitsFor)


def waiting_words(provisioner: object) -> str | None:
    """Return what keeps a starting kernel from running just now, where its provisioner knows."""
    return provisioner.waiting_words() if isinstance(provisioner, SaysWhatItWaitsFor) else None


async def wait_for_exit(
    provisioner: KernelProvisionerBase, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> str:
    """Return why a kernel ended, in words for its user, when it has."""
    if isinstance(provisioner, ReportsExit):
        return await provisioner.wait_for_exit()
    while (status := await provisioner.poll()) is None:
        await sleep(_POLL_SECONDS)
    return exit_words(status)


def exit_words(status: int) -> str:
    """Return what an exit status means: the status of a process, or minus the signal that ended it."""
    if status >= 0:
        return f"The kernel exited with status {status}."
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = " The system may have run out of memory." if name == "SIGKILL" else ""
    return f"The kernel was ended by {name}.{hint}"
