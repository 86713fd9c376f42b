"""The pods of one kernel, one after the other, whichever replica makes and ends them."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from enterprise_gateway.cluster.objects.removal import PendingDeletion, Removal
from enterprise_gateway.cluster.objects.start import KernelObjects, ObjectMaker
from enterprise_gateway.cluster.objects.store import KernelRecord, KernelStore
from enterprise_gateway.cluster.pods.annotations import Cause, Ending, last_activity_of, text_of, was_started
from enterprise_gateway.cluster.pods.loss import LossDetector
from enterprise_gateway.cluster.pods.pool import ClaimedPod, PoolPods
from enterprise_gateway.cluster.pods.state import PodKey, PodState
from enterprise_gateway.cluster.watch.informer import Cache
from enterprise_gateway.cluster.watch.pod_watch import PodWatch
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import KubernetesError, LaunchFailed
from enterprise_gateway.launch.plan import LaunchPlan
from enterprise_gateway_common import labels

__all__ = ["KernelPods"]

_log = logging.getLogger(__name__)

_END_SECONDS = 30.0
_PATIENCE_SECONDS = 5.0
_MARK_SECONDS = 5.0
_RECORD_SECONDS = 2.0
_LONGEST_RECORD_SECONDS = 60.0
# A replica that announced a restart and hasn't begun with it by then isn't there any more.
_STALE_SECONDS = 120.0


class KernelPods:
    """The pod that a kernel has now, and the one that takes its place.

    Parameters
    ----------
    kernel_id
        What all pods of the kernel carry.
    informer, store, removal
        The cache of the pods, their records, and the way to end them.
    loss_detector
        Asked where the cluster doubts that the kernel runs.
    """

    def __init__(
        self,
        *,
        kernel_id: str,
        informer: Cache[PodState],
        store: KernelStore,
        removal: Removal,
        loss_detector: LossDetector,
    ) -> None:
        self._kernel_id = kernel_id
        self._informer = informer
        self._store = store
        self._removal = removal
        self._loss_detector = loss_detector
        self._doubt: asyncio.Task[None] | None = None
        self._made_here = False
        self._unanswered = False
        self._prefetched: KernelRecord | None = None
        self._untold: Mapping[str, str] = {}
        self.objects: KernelObjects | None = None
        self.watch: PodWatch | None = None

    # ------------------------------------------------------------------------------------------------ which pod it is

    async def make(self, maker: ObjectMaker, plan: LaunchPlan, *, deadline: Deadline) -> PodWatch:
        """Return the watch of a new pod, which sees all that becomes of it from the first moment on.

        Raises
        ------
        GatewayError
            It can't be made.
        """
        self.forget()
        # Another replica may end the pod before this one has an answer that it was made.
        key = plan.namespace, plan.names.pod
        watch = PodWatch(informer=self._informer, key=key, uid=None, on_change=self._settle_doubt)
        try:
            objects = await maker.make(plan, deadline=deadline)
        except BaseException:
            watch.close()
            raise
        watch.identify(objects.pod_uid)
        self.objects, self.watch, self._made_here = objects, watch, True
        self._unanswered, self._untold = False, {}
        return watch

    async def claim(self, pool: PoolPods, plan: LaunchPlan, *, deadline: Deadline) -> ClaimedPod | None:
        """Return a pod of a pool that is this kernel's from now on, and watch it; `None` where there is none for it.

        Raises
        ------
        KubernetesError
            The cluster can't be asked.
        """
        claimed = await pool.claim(plan, deadline=deadline)
        if claimed is None:
            return None
        self.forget()
        pod = claimed.state
        self.objects = KernelObjects(pod.namespace, owns_namespace=False, pod_name=pod.name, pod_uid=pod.uid)
        self.watch = PodWatch(informer=self._informer, key=pod.key, uid=pod.uid, seen=pod, on_change=self._settle_doubt)
        self._made_here, self._unanswered, self._untold = True, False, {}
        return claimed

    def follow(self, pod: PodState, record: KernelRecord | None = None) -> None:
        """Take over a pod that another process made, with its record where somebody has read it already."""
        self.forget()
        self._unanswered, self._untold = False, {}
        owns_namespace = pod.annotations.get(labels.OWN_NAMESPACE_ANNOTATION) == "true"
        self.objects = KernelObjects(pod.namespace, owns_namespace, pod.name, pod.uid)
        self._made_here, self._prefetched = False, record
        self.watch = PodWatch(informer=self._informer, key=pod.key, uid=pod.uid, seen=pod, on_change=self._settle_doubt)
        self._settle_doubt()

    def forget(self) -> None:
        """Watch no pod."""
        if self._doubt is not None:
            self._doubt.cancel()
            self._doubt = None
        if self.watch is not None:
            self.watch.close()
            self.watch = None

    def _settle_doubt(self) -> None:
        """Begin to find out whether the kernel is lost, where the cluster doubts that it runs and nobody does so yet."""
        if self.watch is None or not self.watch.in_doubt or self._doubt is not None:
            return
        settling = self._loss_detector.settle(self.watch, mark=self.mark, started_here=self._made_here)
        self._doubt = asyncio.create_task(settling, name=f"doubt of {self._kernel_id}")
        self._doubt.add_done_callback(self._settled)

    def _settled(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        self._doubt = None
        if (error := task.exception()) is not None:
            _log.error("A kernel can't be asked whether it is lost", exc_info=error, extra={"kernel_id": self._kernel_id})

    @property
    def state(self) -> PodState | None:
        """The pod as it was seen last."""
        return self.watch.state if self.watch is not None else None

    def _others(self) -> list[PodState]:
        uid = self.objects.pod_uid if self.objects is not None else ""
        return [pod for pod in self._informer.objects.values() if self._is_own(pod) and pod.uid != uid and not pod.deleting]

    def _is_own(self, pod: PodState) -> bool:
        # Somebody who may make pods in another namespace may label them as he likes.
        home = self.objects.namespace if self.objects is not None else pod.namespace
        return (pod.kernel_id, pod.namespace) == (self._kernel_id, home)

    async def next_pod(self) -> None:
        """Follow another pod of this kernel as soon as there is one."""
        changed = asyncio.Event()

        def noticed(_key: PodKey, pod: PodState | None) -> None:
            if pod is not None and self._is_own(pod):
                changed.set()

        unsubscribe = self._informer.subscribe(noticed)
        try:
            while not (others := self._others()):
                changed.clear()
                await changed.wait()
        finally:
            unsubscribe()
        self.follow(others[0])

    # --------------------------------------------------------------------------------------------------- what it is

    async def record(self) -> KernelRecord:
        """Return the kernel's record as soon as its pod runs, or has run, and the record is whole.

        Raises
        ------
        LaunchFailed
            The pod ended before.
        KubernetesError
            The record can't be read.
        """
        watch, pause = self._present(), _RECORD_SECONDS
        while True:
            pod = await watch.runs_or_ended()
            record, self._prefetched = self._prefetched, None
            record = record or await self._store.record(pod)
            if record is not None:
                return record
            if not watch.alive:
                raise LaunchFailed(watch.words())
            # A kernel that tells its connection itself: the replica that waits for it marks the pod when it knows. One that
            # was killed in between did not, so there are looks without a change too, ever more rarely.
            if watch.state is pod:
                await watch.changed(pause)
                pause = min(2 * pause, _LONGEST_RECORD_SECONDS)

    async def ended(self) -> Ending | str:
        """Return when the kernel doesn't run any more: with the end that was announced, or with why it died."""
        watch = self._present()
        await watch.over()
        ending = watch.ending
        if ending is None or (ending.cause is Cause.RESTART and _age(ending) > _STALE_SECONDS):
            return watch.words()
        return ending

    async def died(self) -> str:
        """Return when the kernel doesn't run any more, with why; announced or not."""
        watch = self._present()
        await watch.ended()
        return watch.words()

    async def gone(self) -> None:
        """Return when the pod's object is gone."""
        if self.watch is not None:
            await self.watch.gone()

    async def marked_as_started(self) -> None:
        """Return when a replica wrote that the kernel answers."""
        await self._present().marked_as_started()

    @property
    def is_gone(self) -> bool:
        """Whether no pod of the kernel is known."""
        return self.watch is None or self.watch.is_gone

    @property
    def ending(self) -> Ending | None:
        """The end that a replica announced for the pod; `None` where none did."""
        return self.watch.ending if self.watch is not None else None

    @property
    def was_started(self) -> bool:
        """Whether a replica saw the kernel in this pod answer."""
        return self.state is not None and was_started(self.state)

    def _present(self) -> PodWatch:
        if self.watch is None:
            raise LaunchFailed("The kernel has no pod.")
        return self.watch

    # ------------------------------------------------------------------------------------------- telling the others

    async def announce(self, cause: Cause, words: str = "") -> None:
        """Write why the pod is about to end, for the replicas that see it end; one that is gone needs it no more."""
        ending = Ending(cause=cause, at=text_of(datetime.now(UTC)), words=words).annotation()
        self._untold = {} if await self.mark(ending) else ending

    async def record_activity(self, moment: datetime) -> None:
        """Write when the kernel was last used, unless it is known; the first time tells that it answers."""
        known = last_activity_of(self.state) if self.state is not None else None
        if known is None or known < moment:
            await self.mark({labels.LAST_ACTIVITY_ANNOTATION: text_of(moment)})

    async def mark(self, annotations: Mapping[str, str]) -> bool:
        """Write something for the other replicas; tell whether that was possible."""
        pod = self.state
        if pod is None or self.is_gone:
            return False
        try:
            await self._store.mark(pod, annotations, seconds=_MARK_SECONDS)
        except KubernetesError as error:
            # What follows must not wait for it: without it the others only see an end that nobody explained.
            fields = {"kernel_id": self._kernel_id, "what": sorted(annotations), "cause": str(error)}
            _log.warning("Other replicas can't be told of a kernel", extra=fields)
            return False
        return True

    # -------------------------------------------------------------------------------------------------------- ending

    async def delete_pod(self, *, grace: int, wait: bool = True) -> None:
        """Delete the pod; return when it is gone, where that is waited for and the cluster answers at all."""
        objects, watch = self.objects, self.watch
        if objects is None or watch is None or watch.is_gone:
            return
        where = objects.namespace, objects.pod_name, objects.pod_uid
        await self._delete([PendingDeletion(self._kernel_id, "Pod", *where, grace=grace, annotations=self._untold)])
        if wait and not self._unanswered:
            await watch.gone(Deadline(_END_SECONDS))

    async def _delete(self, doomed: list[PendingDeletion]) -> None:
        # Who once waited in vain doesn't wait again at every step of the kernel's end.
        patience = 0.0 if self._unanswered else _PATIENCE_SECONDS
        self._unanswered = not await self._removal.take_away(doomed, patience=patience)

    async def take_away(self, *, restart: bool, others: bool) -> None:
        """Leave nothing of the kernel; where it starts again, the namespace that was made for it stays.

        Where the cluster doesn't answer, the kernel is over for its client all the same, and its objects go later.

        Parameters
        ----------
        others
            Whether a pod that another replica has made for the kernel meanwhile goes too.
        """
        objects = self.objects
        if objects is None:
            return
        others_pods = (
            [PendingDeletion(self._kernel_id, "Pod", *pod.key, pod.uid, grace=0) for pod in self._others()] if others else []
        )
        home = PendingDeletion(self._kernel_id, "Namespace", None, objects.namespace, objects.namespace_uid)
        await asyncio.gather(
            self.delete_pod(grace=0),
            *(self._delete([pod]) for pod in others_pods),
            *(self._delete([home]) for _ in range(objects.owns_namespace and not restart)),
        )
        self.forget()
        if not restart:
            self.objects = None


def _age(ending: Ending) -> float:
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(ending.at)).total_seconds()
    except (ValueError, TypeError):
        return 0.0
