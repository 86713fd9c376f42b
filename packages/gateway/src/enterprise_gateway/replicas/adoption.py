"""Kernels of the cluster that this process didn't start: found at its start, and from then on as they appear.

The cluster is the only store. What is known of a kernel stands on its pod and in its Secret, so a gateway that was killed
is followed by one that goes on with all of its kernels, and several replicas list and serve the same ones.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from enterprise_gateway.cluster.connection import ClusterConnection
from enterprise_gateway.cluster.pods.annotations import ending_of, last_activity_of, moment_of, was_started
from enterprise_gateway.cluster.pods.state import PodKey, PodState, is_later
from enterprise_gateway.errors import KernelspecNotFound, KubernetesError, KubernetesUnavailable, NotSupported
from enterprise_gateway.kernels.admission import AdmissionControl
from enterprise_gateway.kernels.rules import KernelFactory
from enterprise_gateway.kernelspecs.catalogue import KernelspecCatalogue
from enterprise_gateway.replicas.cluster_sync import ClusterSync
from enterprise_gateway.replicas.look_up import LookUpBudget
from enterprise_gateway.replicas.owners import is_kernel_id
from enterprise_gateway.replicas.replicated_kernels import ReplicatedKernels, replication_of
from enterprise_gateway_common import labels

if TYPE_CHECKING:
    from enterprise_gateway.cluster.objects.store import KernelRecord
    from enterprise_gateway.cluster.services import ClusterServices

__all__ = ["Adoption"]

_log = logging.getLogger(__name__)

_ANSWER_SECONDS = 5.0
_SYNC_SECONDS = 60.0
# A start needn't be refused for a moment's sake, and clients that start a kernel don't try again by themselves.
_PATIENCE_SECONDS = 5.0
_ASK_AGAIN_SECONDS = 2.0


class Adoption:
    """Makes every kernel of the cluster known to this gateway.

    Parameters
    ----------
    cluster, sync
        Where the kernels are, and who tells whether all of them are known.
    kernels, catalogue, make_kernel
        Who knows kernels, their kernelspecs, and makes their objects.
    admission
        Told of the pods of kernels that start here.
    noticed
        Called with each change of the pod of a kernel that is known.
    clock
        Seconds that only go forward.
    """

    def __init__(
        self,
        *,
        cluster: ClusterConnection,
        sync: ClusterSync,
        kernels: ReplicatedKernels,
        catalogue: KernelspecCatalogue,
        make_kernel: KernelFactory,
        admission: AdmissionControl,
        noticed: Callable[[PodState], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._sync = sync
        self._kernels = kernels
        self._catalogue = catalogue
        self._make_kernel = make_kernel
        self._admission = admission
        self._noticed = noticed
        self._budget = LookUpBudget(clock=clock)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._questions: dict[str, asyncio.Task[PodState | None]] = {}
        self._records: dict[PodKey, KernelRecord] = {}
        self._left_alone: set[str] = set()
        self._shown: dict[PodKey, str] = {}  # the uid that the cache has, which doesn't tell whose pod vanishes
        self._vanished: set[str] = set()  # while somebody looks at one of them
        self._subscribed = False
        self._finding = asyncio.Lock()

    async def begin(self) -> None:
        """Return when every kernel of the cluster is known and usable; those that come later are adopted as they appear.

        Raises
        ------
        GatewayError
            The cluster doesn't answer.
        """
        await self._find()
        await self._kernels.settled(_ANSWER_SECONDS)

    async def join(self) -> None:
        """Return when every kernel of the cluster is known, for a start that can wait a moment for it.

        Raises
        ------
        ClusterNotSynced
            It takes longer.
        GatewayError
            The cluster doesn't answer.
        """
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._find()
        except TimeoutError:
            raise self._sync.not_yet() from None

    async def _find(self) -> None:
        async with self._finding:
            if self._sync.done:
                return
            self._sync.begin()
            try:
                services = await self._cluster.open()
            except NotSupported:
                if self._cluster.mode != "on":
                    self._sync.not_needed()
                raise
            await services.ready(_SYNC_SECONDS)
            # Read in one call what would be one for each kernel.
            self._records = await services.store.records()
            self.follow(services)
            adopted = tuple(self._tasks.values())
            if adopted:
                await asyncio.wait(adopted)
            self._records = {}
            self._sync.finish()

    def check_synced(self) -> None:
        """Return where every kernel of the cluster is known.

        Raises
        ------
        ClusterNotSynced
            There may be others.
        """
        self._sync.check()

    async def synced(self) -> None:
        """Return when every kernel of the cluster is known, or there is none to be found."""
        await self._sync.decided()

    def follow(self, services: "ClusterServices") -> None:
        """Adopt what runs in the cluster now and what appears later; does nothing the second time."""
        if self._subscribed:
            return
        self._subscribed = True
        services.pods.subscribe(self._changed)
        for key, pod in tuple(services.pods.objects.items()):
            self._changed(key, pod)

    # ------------------------------------------------------------------------------------------------------- adopting

    def _changed(self, key: PodKey, pod: PodState | None) -> None:
        before = self._shown.pop(key, None)
        if pod is not None:
            self._shown[key] = pod.uid
        if before is not None and (pod is None or pod.uid != before) and (self._tasks or self._questions):
            # Whoever follows the kernel sees its pod's end; who is only about to would wait for it for ever.
            self._vanished.add(before)
        if pod is None:
            return
        if self._kernels.knows(pod.kernel_id, pod.uid):
            self._pod_seen(pod.kernel_id)
            self._noticed(pod)
        elif self._can_be_adopted(pod):
            self._begin(pod)

    def _pod_seen(self, kernel_id: str) -> None:
        entry = self._kernels.table.find(kernel_id)
        if entry is not None and entry.launching:
            self._admission.pod_seen(entry.admission, kernel_id=kernel_id, user=entry.kernel.user)

    def _begin(self, pod: PodState) -> None:
        if pod.kernel_id in self._tasks:
            return
        self._tasks[pod.kernel_id] = asyncio.create_task(self._adopt_one(pod), name=f"adopt {pod.kernel_id}")

    async def _adopt_one(self, pod: PodState) -> None:
        try:
            await self._adopt(pod)
        except Exception:
            # One that can't be adopted must not keep the others from being found.
            _log.exception("A kernel can't be adopted", extra={"kernel_id": pod.kernel_id})
        finally:
            del self._tasks[pod.kernel_id]
            if not (self._tasks or self._questions):
                self._vanished.clear()

    async def _adopt(self, pod: PodState) -> None:
        name = pod.annotations.get(labels.KERNEL_NAME_ANNOTATION, "")
        try:
            kernelspec = await self._catalogue.get(name)
            kernel, lifecycle = self._make_kernel(
                kernel_id=pod.kernel_id,
                kernelspec=kernelspec,
                user=pod.annotations.get(labels.USERNAME_ANNOTATION, ""),
            )
        except (KernelspecNotFound, NotSupported) as error:
            self._leave_alone(pod, name, error.message)
            return
        replication = replication_of(lifecycle)
        if replication is None:
            self._leave_alone(pod, name, "the kernelspec doesn't run kernels in the cluster any more")
            return
        # It may have gone on while the kernelspec was read; one that the watch hasn't shown yet is taken as it was found.
        services = self._cluster.services
        present = services.pods.objects.get(pod.key)
        gone = pod.uid in self._vanished
        if present is not None and (gone or present.uid == pod.uid or is_later(present, pod)):
            pod = present
        if pod.uid in self._vanished:
            return
        moment = last_activity_of(pod) or moment_of(pod.created)
        if moment is not None:
            kernel.restore_activity(moment)
        replication.pods.follow(pod, self._records.get(pod.key))
        self._kernels.follow(kernel, lifecycle)
        self._left_alone.discard(pod.kernel_id)
        self._noticed(pod)

    async def look_again(self) -> None:
        """Adopt the kernels that were left alone and can be by now: their kernelspecs may have come after them."""
        if not self._left_alone:
            return
        pods = [pod for pod in self._cluster.services.pods.objects.values() if pod.kernel_id in self._left_alone]
        self._left_alone.intersection_update(pod.kernel_id for pod in pods)
        for pod in pods:
            self._changed(pod.key, pod)

    def _leave_alone(self, pod: PodState, kernelspec: str, cause: str) -> None:
        if pod.kernel_id not in self._left_alone:
            self._left_alone.add(pod.kernel_id)
            fields = {"kernel_id": pod.kernel_id, "kernelspec": kernelspec, "cause": cause}
            _log.warning("A kernel runs whose kernelspec can't be used here; it is left alone", extra=fields)

    # -------------------------------------------------------------------------------------------------------- look-up

    async def look_up(self, kernel_id: str) -> None:
        """Make a kernel known that another replica has only just started, where there is one of this id.

        One call to the API server for an id that is new here, and none beyond a rate, whoever asks for how many.

        Raises
        ------
        Unavailable, KubernetesError
            The cluster can't be asked now.
        """
        if not is_kernel_id(kernel_id):
            return
        if not self._subscribed:
            self._sync.check()
            return
        if kernel_id not in self._tasks:
            pod = self._pod(kernel_id) or await self._asked(kernel_id)
            if pod is None or self._kernels.knows(pod.kernel_id, pod.uid) or not self._can_be_adopted(pod):
                return
            self._begin(pod)
        await asyncio.wait([self._tasks[kernel_id]])

    def _can_be_adopted(self, pod: PodState) -> bool:
        # One that this process is to take away as soon as the cluster answers is nobody's kernel any more.
        return _is_a_kernel(pod) and not self._cluster.services.removal.is_pending(pod)

    def _pod(self, kernel_id: str) -> PodState | None:
        pods = self._cluster.services.pods.objects.values()
        return next((pod for pod in pods if pod.kernel_id == kernel_id and not pod.deleting), None)

    async def _asked(self, kernel_id: str) -> PodState | None:
        """Return the pod as the API server has it; many who ask for the same one are one question."""
        question = self._questions.get(kernel_id)
        if question is None:
            if not self._budget.allows(kernel_id):
                return None
            question = self._questions[kernel_id] = asyncio.create_task(self._cluster.services.store.find(kernel_id))
            question.add_done_callback(lambda _: self._questions.pop(kernel_id, None))
        await asyncio.wait([question])
        try:
            return question.result()
        except KubernetesError as error:
            # Who asks again at once must not be told that there is no such kernel: nobody knows.
            self._budget.forget(kernel_id)
            if isinstance(error, KubernetesUnavailable):
                error.retry_after = error.retry_after or _ASK_AGAIN_SECONDS
            raise


def _is_a_kernel(pod: PodState) -> bool:
    # One that ended before anybody saw its kernel answer is a start that fails: whoever started it cleans up.
    return not pod.deleting and bool(pod.kernel_id) and (was_started(pod) or not pod.ended) and not _is_over(pod)


def _is_over(pod: PodState) -> bool:
    return pod.ended and ending_of(pod) is not None
