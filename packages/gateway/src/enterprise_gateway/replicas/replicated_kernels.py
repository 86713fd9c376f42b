"""Those of this gateway's kernels that other replicas look after as well."""

import asyncio
import logging

from enterprise_gateway.kernels.admission import Admission, AdmissionState
from enterprise_gateway.kernels.kernel import Kernel
from enterprise_gateway.kernels.lifecycle import KernelLifecycle
from enterprise_gateway.kernels.table import Entry, KernelTable
from enterprise_gateway.replicas.supervision import ReplicatedSupervision

__all__ = ["ReplicatedKernels", "replication_of"]

_log = logging.getLogger(__name__)


def replication_of(lifecycle: KernelLifecycle) -> ReplicatedSupervision | None:
    """Return what this replica shares with others of a kernel; nothing where it is this one's alone."""
    supervision = lifecycle.supervision
    return supervision if isinstance(supervision, ReplicatedSupervision) else None


class ReplicatedKernels:
    """The part of a gateway's kernels that runs in a cluster.

    Parameters
    ----------
    table
        All kernels of the gateway.
    """

    def __init__(self, *, table: KernelTable) -> None:
        self.table = table

    def all(self) -> list[tuple[Kernel, ReplicatedSupervision]]:
        """Return the kernels that nobody here is starting just now."""
        return [
            (entry.kernel, replication)
            for entry in self.table.entries()
            if not entry.launching and (replication := replication_of(entry.lifecycle)) is not None
        ]

    def find(self, kernel_id: str) -> tuple[Kernel, ReplicatedSupervision] | None:
        """Return one kernel, also while it is being started here."""
        entry = self.table.find(kernel_id)
        replication = None if entry is None else replication_of(entry.lifecycle)
        return None if entry is None or replication is None else (entry.kernel, replication)

    def follow(self, kernel: Kernel, lifecycle: KernelLifecycle) -> None:
        """Know a kernel that another replica started; it is listed at once and usable as soon as it answers."""
        if kernel.kernel_id in self.table:
            # A start of this process was faster than the look at another one's.
            lifecycle.supervision.let_go()
            return
        self.table.add(Entry(kernel, lifecycle, admission=Admission(AdmissionState.ADMITTED)))
        _log.info("Kernel adopted", extra={"kernel_id": kernel.kernel_id, "user": kernel.user, "kernelspec": kernel.name})
        lifecycle.follow()

    def knows(self, kernel_id: str, uid: str) -> bool:
        """Tell whether there is a kernel of this id that a pod may belong to; one that is dead makes room for a new one."""
        entry = self.table.find(kernel_id)
        if entry is None:
            return False
        replication = replication_of(entry.lifecycle)
        if replication is not None and replication.is_over(uid):
            self.table.forget(entry.kernel)
            return False
        return True

    async def settled(self, seconds: float) -> None:
        """Return when no kernel of another replica is on its way to be usable, and at the latest when the time is over."""
        followed = [entry for entry in self.table.entries() if entry.launch is None]
        await asyncio.gather(*(entry.settled(seconds) for entry in followed), return_exceptions=True)
