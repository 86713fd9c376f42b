"""Runs periodic maintenance of kernels: culls those that nobody uses, keeps records true, cleans up orphans.

A kernel that other replicas see as well is culled by one of them, which can't know whose clients are connected to the
others. So it asks before: it writes a question on the pod, every replica that finds the kernel in use answers on the same
pod, and silence means that nobody does. A question costs one call when a kernel has been idle for its whole timeout;
while nothing is about to be culled, nobody writes anything.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from enterprise_gateway.cluster.connection import ClusterConnection
from enterprise_gateway.cluster.pods.annotations import in_use_at, last_activity_of, question_of, text_of
from enterprise_gateway.cluster.pods.state import PodState
from enterprise_gateway.kernels.culling import cull_reason, idle_timeout, kernels_to_cull
from enterprise_gateway.kernels.kernel import ExecutionState, Kernel
from enterprise_gateway.kernels.registry import Kernels
from enterprise_gateway.kernels.replicated_lifecycle import ReplicatedKernelLifecycle
from enterprise_gateway_common import labels

__all__ = ["Upkeep"]

_log = logging.getLogger(__name__)

_ANSWER_SECONDS = 5.0
# For as long its clients can still ask why.
_DEAD_SECONDS = 300.0
# A record that is older than the kernel's activity by less than this is good enough for who takes over.
_SHORTEST_RECORD_SECONDS = 15.0
_LONGEST_RECORD_SECONDS = 900.0
_RECORDS_AT_ONCE = 32
_NOT_ANSWERING = frozenset({ExecutionState.STARTING, ExecutionState.RESTARTING, ExecutionState.DEAD})


class Upkeep:
    """Does it, for the kernels that this replica may act on.

    Parameters
    ----------
    cluster, kernels
        Where kernels are, and who knows them.
    identity
        Tells this replica from the others.
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
        identity: str,
        orphan_age: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cluster = cluster
        self._kernels = kernels
        self._identity = identity
        self._orphan_age = orphan_age
        self._now = now
        self._sleep = sleep
        self._heard: dict[str, str] = {}
        self._answers: set[asyncio.Task[None]] = set()

    # -------------------------------------------------------------------------------------------------------- culling

    async def cull(self) -> None:
        """Shut down the kernels that nobody has used for too long; one that is slow to end holds up no other."""
        shared = {kernel.kernel_id: lifecycle for kernel, lifecycle in self._kernels.table.replicated()}
        found = kernels_to_cull(self._kernels.all(), self._kernels.rules.culling)
        alone = [(kernel, reason) for kernel, reason in found if kernel.kernel_id not in shared]
        asked = [kernel for kernel, _ in found if kernel.kernel_id in shared and shared[kernel.kernel_id].may_act]
        unused = await self._without_objection(asked, shared)
        # Clients have seen by now why it died; a kernel in a pod is forgotten by its own lifecycle.
        dead = [
            kernel for kernel in self._kernels.all() if kernel.dead_seconds >= _DEAD_SECONDS and kernel.kernel_id not in shared
        ]
        await asyncio.gather(
            *(self._kernels.cull(kernel, reason) for kernel, reason in [*alone, *unused]),
            *(self._kernels.forget_dead(kernel) for kernel in dead),
        )

    async def _without_objection(
        self, kernels: list[Kernel], shared: dict[str, ReplicatedKernelLifecycle]
    ) -> list[tuple[Kernel, str]]:
        """Return those of which no replica says that they are in use."""
        if not kernels:
            return []
        question = {labels.CULL_QUESTION_ANNOTATION: f"{self._identity} {text_of(self._now())}"}
        places = asyncio.Semaphore(_RECORDS_AT_ONCE)

        async def ask(kernel: Kernel) -> bool:
            async with places:
                return await shared[kernel.kernel_id].pods.mark(question)

        told = await asyncio.gather(*map(ask, kernels))
        await self._sleep(_ANSWER_SECONDS)
        # One that the others couldn't be asked about stays, unless there is nothing left of it that they could use.
        heard = [kernel for kernel, asked in zip(kernels, told, strict=True) if asked or shared[kernel.kernel_id].pods.is_gone]
        still = [kernel for kernel in heard if shared[kernel.kernel_id].may_act]
        return kernels_to_cull(still, self._kernels.rules.culling)

    def noticed(self, pod: PodState) -> None:
        """Take over what other replicas wrote of a kernel, and answer what they ask."""
        entry = self._kernels.table.find(pod.kernel_id)
        if entry is None or not isinstance(entry.lifecycle, ReplicatedKernelLifecycle):
            return
        kernel, activity, in_use = entry.kernel, last_activity_of(pod), in_use_at(pod)
        if activity is not None and activity > kernel.last_activity:
            kernel.restore_activity(activity)
        if in_use is not None:
            kernel.spare(max(0.0, (self._now() - in_use).total_seconds()))
        question, before = question_of(pod), self._heard.get(pod.uid)
        self._heard[pod.uid] = question
        # A question that stood there before this replica knew the kernel has long been decided.
        if question in {"", before} or before is None or question.startswith(f"{self._identity} "):
            return
        if cull_reason(kernel, self._kernels.rules.culling) is None:
            task = asyncio.create_task(self._object(kernel, entry.lifecycle))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def _object(self, kernel: Kernel, lifecycle: ReplicatedKernelLifecycle) -> None:
        latest = text_of(kernel.last_activity)
        await lifecycle.pods.mark({labels.IN_USE_ANNOTATION: text_of(self._now()), labels.LAST_ACTIVITY_ANNOTATION: latest})

    # -------------------------------------------------------------------------------------------------------- records

    async def record_activity(self) -> None:
        """Write the last activity of kernels whose record has fallen behind so far that it would matter."""
        rules = self._kernels.rules.culling

        def tolerance(kernel: Kernel) -> float:
            quarter = idle_timeout(kernel, rules) / 4 or _LONGEST_RECORD_SECONDS
            return min(max(_SHORTEST_RECORD_SECONDS, quarter), _LONGEST_RECORD_SECONDS)

        await self._record([pair for pair in self._kernels.table.replicated() if pair[1].may_act], tolerance)

    async def flush(self) -> None:
        """Write the last activity of every kernel, for whoever goes on without this replica."""
        await self._record(self._kernels.table.replicated(), lambda _kernel: 0.0)

    async def _record(
        self, kernels: list[tuple[Kernel, ReplicatedKernelLifecycle]], tolerance: Callable[[Kernel], float]
    ) -> None:
        uids = {pod.uid for _, lifecycle in self._kernels.table.replicated() if (pod := lifecycle.pods.state) is not None}
        self._heard = {uid: question for uid, question in self._heard.items() if uid in uids}
        places = asyncio.Semaphore(_RECORDS_AT_ONCE)

        async def record(kernel: Kernel, lifecycle: ReplicatedKernelLifecycle) -> None:
            if kernel.execution_state in _NOT_ANSWERING:
                # What is written tells the others, and the collector of orphans, that the kernel answers.
                return
            pod = lifecycle.pods.state
            written = last_activity_of(pod) if pod is not None else None
            if written is None or kernel.last_activity - written > timedelta(seconds=tolerance(kernel)):
                async with places:
                    await lifecycle.pods.record_activity(kernel.last_activity)

        await asyncio.gather(*(record(*pair) for pair in kernels))

    async def collect_orphans(self) -> None:
        """Take away what gateways left that died in the middle of a start or of an end."""
        if not (self._cluster.connected and self._cluster.services.leadership.leads):
            return
        answering = {kernel.kernel_id for kernel in self._kernels.all() if kernel.execution_state not in _NOT_ANSWERING}
        store = self._cluster.services.store
        taken = await store.collect_orphans(older_than=self._orphan_age, now=self._now(), answering=answering)
        for name in taken:
            _log.info("Orphan taken away", extra={"object": name})
