"""Goes on with claims of pods whose gateway was killed between its claim and the word to the supervisor."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from enterprise_gateway.errors import Unavailable
from enterprise_gateway.links.supervisor.channels import KernelStatus
from enterprise_gateway_common.supervisor_protocol import KernelPhase

__all__ = ["UNCLAIMED", "ClaimableLink", "finish_claim"]

UNCLAIMED = frozenset({KernelPhase.PREPARING, KernelPhase.WAITING})
"""Of a pod whose supervisor doesn't know yet whose kernel it is to be."""

# Whoever claimed the pod tells its supervisor within a fraction of a second, where it lives.
_PATIENCE_SECONDS = 10.0


class ClaimableLink(Protocol):
    """What of a kernel's link is needed."""

    @property
    def status(self) -> KernelStatus | None:
        """What the supervisor says of the kernel."""

    async def status_is(self, wanted: Callable[[KernelStatus], bool]) -> KernelStatus:
        """Return what the supervisor says of the kernel, as soon as that is wanted."""

    async def claim(self, kernel_id: str, environment: Mapping[str, str]) -> None:
        """Have the supervisor begin the kernel."""


async def finish_claim(
    link: ClaimableLink,
    kernel_id: str,
    environment: Mapping[str, str],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Have a kernel begin whose pod was claimed, and whose supervisor nobody tells; returns never where somebody does.

    Parameters
    ----------
    environment
        Of the kernel's record. Its supervisor takes the first word, whoever's it is, and the others for the same.
    """
    while True:
        await link.status_is(lambda status: status.phase in UNCLAIMED)
        await sleep(_PATIENCE_SECONDS)
        status = link.status
        if status is not None and status.phase in UNCLAIMED:
            try:
                await link.claim(kernel_id, environment)
            except Unavailable:
                # It is asked again; a pod that is of no use at all is taken away as an orphan.
                continue
