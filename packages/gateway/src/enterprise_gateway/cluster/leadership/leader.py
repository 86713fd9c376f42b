"""Who of several replicas does what only one may do: cull, restart dead kernels, clean up orphans."""

import asyncio
from contextlib import suppress

from enterprise_gateway.cluster.leadership.lease import Lease

__all__ = ["Leadership"]

_LOOK_AGAIN_SECONDS = 1.0


class Leadership:
    """Tells whether this replica may act on a kernel of the cluster; at most one replica may at any time.

    The holder of the lease acts on every kernel. A process without the right to leases can't know whether others exist,
    so it acts on the kernels that it started itself and on no other: nobody else without that right does either.

    Parameters
    ----------
    lease
        What the replicas agree by; `None` where the administrator says that this is the only one.
    """

    def __init__(self, *, lease: Lease | None) -> None:
        self._lease = lease
        self._task: asyncio.Task[None] | None = None

    @property
    def leads(self) -> bool:
        """Whether this replica acts for all; ask before every step that only one may do."""
        return self._lease is None or self._lease.held

    def may_act(self, *, started_here: bool) -> bool:
        """Tell whether this replica may act on a kernel now.

        Parameters
        ----------
        started_here
            Whether this very process started it.
        """
        return self.leads or (started_here and self._lease is not None and self._lease.refused)

    async def wait_to_act(self, *, started_here: bool) -> None:
        """Return when this replica may act on a kernel, which may be never."""
        while not self.may_act(started_here=started_here):
            if self._lease is None:
                raise AssertionError("without a lease there is nobody to wait for")
            # Refusals have no event: they are rare, and a second doesn't matter to a kernel that died.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN_SECONDS):
                    await self._lease.wait_held()

    def start(self) -> None:
        """Begin to claim the lease."""
        if self._lease is not None and self._task is None:
            self._task = asyncio.create_task(self._lease.run(), name="lease")

    async def stop(self) -> None:
        """Act no more and let another replica take over at once; may be called twice."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._lease is not None:
            await self._lease.release()
