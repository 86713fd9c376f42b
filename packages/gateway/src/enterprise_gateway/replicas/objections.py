"""Whether another replica finds a kernel in use that this one is about to cull.

None of several replicas can know whose clients are connected to the others. So the one that culls asks before: it writes a
question on the pod, every replica that finds the kernel in use objects on the same pod, and silence means that nobody does.
A question costs one call when a kernel has been idle for its whole timeout; while nothing is about to be culled, nobody
writes anything.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from enterprise_gateway.cluster.pods.annotations import in_use_at, last_activity_of, question_of, text_of
from enterprise_gateway.cluster.pods.state import PodState
from enterprise_gateway.kernels.culling import cull_reason
from enterprise_gateway.kernels.kernel import Kernel
from enterprise_gateway.kernels.rules import RulesInForce
from enterprise_gateway.replicas.replicated_kernels import ReplicatedKernels
from enterprise_gateway.replicas.supervision import ReplicatedSupervision
from enterprise_gateway_common import labels

__all__ = ["Objections"]

_ANSWER_SECONDS = 5.0
_QUESTIONS_AT_ONCE = 32
# Behind a question that isn't whether the kernel is in use, but whether anybody ever asked for it.
_UNCLAIMED = " unclaimed"


class Objections:
    """Asks the other replicas, and answers what they ask.

    Parameters
    ----------
    kernels
        The kernels that others look after as well.
    rules
        Tell when a kernel counts as used.
    identity
        Tells this replica from the others.
    now
        The time of day, for what is written down.
    """

    def __init__(
        self,
        *,
        kernels: ReplicatedKernels,
        rules: RulesInForce,
        identity: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._kernels = kernels
        self._rules = rules
        self._identity = identity
        self._now = now
        self._sleep = sleep
        self._heard: dict[str, str] = {}
        self._answers: set[asyncio.Task[None]] = set()

    async def ask(self, kernels: list[tuple[Kernel, ReplicatedSupervision]]) -> list[Kernel]:
        """Return those of which no replica says that they are in use, and that this one may still act on."""
        if not kernels:
            return []
        asked = await self._put(kernels)
        # One that the others couldn't be asked about stays, unless there is nothing left of it that they could use.
        return [
            kernel
            for (kernel, replication), was_asked in zip(kernels, asked, strict=True)
            if (was_asked or replication.pods.is_gone) and replication.may_act
        ]

    async def ask_for_claims(self, kernels: list[tuple[Kernel, ReplicatedSupervision]]) -> list[Kernel]:
        """Return those that nobody asked any replica for; the others count as asked for from now on."""
        if not kernels:
            return []
        asked = await self._put(kernels, _UNCLAIMED)
        for (kernel, replication), was_asked in zip(kernels, asked, strict=True):
            if kernel.spared_seconds < 2 * _ANSWER_SECONDS or not (was_asked or replication.pods.is_gone):
                kernel.claim()
        return [kernel for kernel, _ in kernels if kernel.is_unclaimed]

    async def _put(self, kernels: list[tuple[Kernel, ReplicatedSupervision]], kind: str = "") -> list[bool]:
        """Put a question to the other replicas, wait for their answers, and return of which kernels they could be asked."""
        question = {labels.CULL_QUESTION_ANNOTATION: f"{self._identity} {text_of(self._now())}{kind}"}
        places = asyncio.Semaphore(_QUESTIONS_AT_ONCE)

        async def ask(replication: ReplicatedSupervision) -> bool:
            async with places:
                return await replication.pods.mark(question)

        asked = await asyncio.gather(*(ask(replication) for _, replication in kernels))
        await self._sleep(_ANSWER_SECONDS)
        return asked

    def noticed(self, pod: PodState) -> None:
        """Take over what other replicas wrote of a kernel, and answer what they ask."""
        found = self._kernels.find(pod.kernel_id)
        if found is None:
            return
        kernel, replication = found
        activity, in_use = last_activity_of(pod), in_use_at(pod)
        if activity is not None and activity > kernel.last_activity:
            kernel.restore_activity(activity)
        if in_use is not None:
            kernel.spare(max(0.0, (self._now() - in_use).total_seconds()))
        question, before = question_of(pod), self._heard.get(pod.uid)
        self._heard[pod.uid] = question
        # A question that stood there before this replica knew the kernel has long been decided.
        if question in {"", before} or before is None or question.startswith(f"{self._identity} "):
            return
        objects = kernel.was_claimed if question.endswith(_UNCLAIMED) else cull_reason(kernel, self._rules.now.culling) is None
        if objects:
            task = asyncio.create_task(self._object(kernel, replication))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def _object(self, kernel: Kernel, replication: ReplicatedSupervision) -> None:
        latest = text_of(kernel.last_activity)
        await replication.pods.mark({labels.IN_USE_ANNOTATION: text_of(self._now()), labels.LAST_ACTIVITY_ANNOTATION: latest})

    def forget_gone(self) -> None:
        """Forget what was asked about kernels that don't exist any more."""
        uids = {pod.uid for _, replication in self._kernels.all() if (pod := replication.pods.state) is not None}
        self._heard = {uid: question for uid, question in self._heard.items() if uid in uids}
