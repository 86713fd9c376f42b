"""Runs periodic maintenance of kernels: culls those that nobody uses, keeps records true, cleans up orphans."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from enterprise_gateway.cluster.connection import ClusterConnection
from enterprise_gateway.cluster.pods.annotations import last_activity_of
from enterprise_gateway.kernels.culling import CullReason, idle_timeout, kernels_to_cull, unclaimed_kernels
from enterprise_gateway.kernels.kernel import ExecutionState, Kernel
from enterprise_gateway.kernels.registry import Kernels
from enterprise_gateway.replicas.objections import Objections
from enterprise_gateway.replicas.replicated_kernels import ReplicatedKernels
from enterprise_gateway.replicas.supervision import ReplicatedSupervision

__all__ = ["Upkeep"]

_log = logging.getLogger(__name__)

# A record that is older than the kernel's activity by less than this is good enough for who takes over.
_SHORTEST_RECORD_SECONDS = 15.0
_LONGEST_RECORD_SECONDS = 900.0
_RECORDS_AT_ONCE = 32
_NOT_ANSWERING = frozenset({ExecutionState.STARTING, ExecutionState.RESTARTING, ExecutionState.DEAD})


class Upkeep:
    """Does it, for the kernels that this replica may act on.

    Parameters
    ----------
    cluster, kernels, replicated
        Where kernels are, who knows them, and those that other replicas know as well.
    objections
        Asks those before a kernel of theirs is culled.
    orphan_age
        Seconds after which objects without a kernel are taken away; longer than any start takes.
    now
        The time of day, for what is written down.
    """

    def __init__(
        self,
        *,
        cluster: ClusterConnection,
        kernels: Kernels,
        replicated: ReplicatedKernels,
        objections: Objections,
        orphan_age: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._kernels = kernels
        self._replicated = replicated
        self._objections = objections
        self._orphan_age = orphan_age
        self._now = now

    async def cull(self) -> None:
        """Shut down the kernels that nobody has used for too long; one that is slow to end holds up no other."""
        rules = self._kernels.rules.now.culling
        replications = {kernel.kernel_id: replication for kernel, replication in self._replicated.all()}
        found = kernels_to_cull(self._kernels.all(), rules)
        alone = [(kernel, reason) for kernel, reason in found if kernel.kernel_id not in replications]
        shared = [
            (kernel, replication)
            for kernel, _ in found
            if (replication := replications.get(kernel.kernel_id)) is not None and replication.may_act
        ]
        unused = kernels_to_cull(await self._objections.ask(shared), rules)
        await asyncio.gather(*(self._kernels.cull(kernel, reason) for kernel, reason in [*alone, *unused]))

    async def cull_unclaimed(self) -> None:
        """Shut down the kernels whose clients were answered before they were up, and never came back.

        Whoever started one does that: nobody else knows. A client may well have come to another replica.
        """
        replications = {kernel.kernel_id: replication for kernel, replication in self._replicated.all()}
        reasons = dict(unclaimed_kernels(self._kernels.all()))
        shared = [(kernel, replications[kernel.kernel_id]) for kernel in reasons if kernel.kernel_id in replications]
        alone = [kernel for kernel in reasons if kernel.kernel_id not in replications]
        unclaimed = [*alone, *await self._objections.ask_for_claims(shared)]
        await asyncio.gather(*(self._kernels.cull(kernel, reasons[kernel], CullReason.UNCLAIMED) for kernel in unclaimed))

    # -------------------------------------------------------------------------------------------------------- records

    async def record_activity(self) -> None:
        """Write the last activity of kernels whose record has fallen behind so far that it would matter."""
        rules = self._kernels.rules.now.culling

        def tolerance(kernel: Kernel) -> float:
            quarter = idle_timeout(kernel, rules) / 4 or _LONGEST_RECORD_SECONDS
            return min(max(_SHORTEST_RECORD_SECONDS, quarter), _LONGEST_RECORD_SECONDS)

        await self._record([pair for pair in self._replicated.all() if pair[1].may_act], tolerance)

    async def flush(self) -> None:
        """Write the last activity of every kernel, for whoever goes on without this replica."""
        await self._record(self._replicated.all(), lambda _kernel: 0.0)

    async def _record(self, kernels: list[tuple[Kernel, ReplicatedSupervision]], tolerance: Callable[[Kernel], float]) -> None:
        self._objections.forget_gone()
        places = asyncio.Semaphore(_RECORDS_AT_ONCE)

        async def record(kernel: Kernel, replication: ReplicatedSupervision) -> None:
            if kernel.execution_state in _NOT_ANSWERING:
                # What is written tells the others, and the collector of orphans, that the kernel answers.
                return
            pod = replication.pods.state
            written = last_activity_of(pod) if pod is not None else None
            if written is None or kernel.last_activity - written > timedelta(seconds=tolerance(kernel)):
                async with places:
                    await replication.pods.record_activity(kernel.last_activity)

        await asyncio.gather(*(record(*pair) for pair in kernels))

    async def collect_orphans(self) -> None:
        """Take away what gateways left that died in the middle of a start or of an end."""
        if not (self._cluster.connected and self._cluster.services.leadership.leads):
            return
        answering = {kernel.kernel_id for kernel in self._kernels.all() if kernel.execution_state not in _NOT_ANSWERING}
        services = self._cluster.services
        taken = await services.store.collect_orphans(older_than=self._orphan_age, now=self._now(), answering=answering)
        if services.watches_pool:
            taken += await services.pool.collect_orphans(older_than=self._orphan_age, now=self._now())
        for name in taken:
            _log.info("Orphan taken away", extra={"object": name})
