"""Pods that wait for a kernel's start: which there are, and how one becomes a kernel's.

They carry another component's label than kernels' pods, so nothing that looks at kernels sees them. A claim is one conditional
write: of two replicas that want the same pod one gets it, and the other takes the next.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from enterprise_gateway.cluster.api.client import ClusterClient
from enterprise_gateway.cluster.objects.store import connection_of
from enterprise_gateway.cluster.pods.annotations import is_ready, text_of
from enterprise_gateway.cluster.pods.state import PodState, pod_state
from enterprise_gateway.cluster.watch.informer import Cache
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import KubernetesError, ObjectExists, ObjectNotFound
from enterprise_gateway.launch.names import secret_name
from enterprise_gateway.launch.plan import LaunchPlan
from enterprise_gateway.launch.pool import claim_of_pod, claim_of_secret, claimed_environment
from enterprise_gateway.launch.supervisor_address import SupervisorAddress
from enterprise_gateway_common import labels

__all__ = ["ClaimedPod", "PoolPods", "PooledConnection"]

_log = logging.getLogger(__name__)

_CALL_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class PooledConnection:
    """How the supervisor of a pool's pod, and later its kernel, is reached; the keys are secrets."""

    info: Mapping[str, Any]
    """As jupyter_client takes it."""
    supervisor: SupervisorAddress


@dataclass(frozen=True, kw_only=True)
class ClaimedPod:
    """A pod that is a kernel's from now on."""

    state: PodState
    connection: PooledConnection
    environment: Mapping[str, str]
    """What its supervisor is to be told."""


class PoolPods:
    """The pods in waiting of one installation.

    Parameters
    ----------
    client, pods
        Of the cluster, and the cache of these pods.
    label_selector, namespaces
        What their objects carry, and where they are.
    choose
        Picks one of several, so that replicas rarely want the same.
    now
        The time of day, for what is written down.
    """

    def __init__(
        self,
        *,
        client: ClusterClient,
        pods: Cache[PodState],
        label_selector: str,
        namespaces: Sequence[str],
        choose: Callable[[list[PodState]], PodState] = random.choice,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._selector = label_selector
        self._namespaces = tuple(namespaces)
        self._choose = choose
        self._now = now
        self._taken: set[str] = set()
        self._gave_way = False
        self._connections: dict[str, asyncio.Task[PooledConnection | None]] = {}
        self.pods = pods
        pods.subscribe(self._noticed)

    def _noticed(self, _key: tuple[str, str], pod: PodState | None) -> None:
        if pod is not None and is_ready(pod):
            # Before anybody is in a hurry.
            self._reading(pod)
            return
        present = {each.uid for each in self.pods.objects.values()}
        self._taken &= present
        for uid in [uid for uid in self._connections if uid not in present]:
            self._connections.pop(uid).cancel()

    def _reading(self, pod: PodState) -> "asyncio.Task[PooledConnection | None]":
        reading = self._connections.get(pod.uid)
        if reading is None:
            reading = self._connections[pod.uid] = asyncio.create_task(self._read(pod), name=f"keys of {pod.name}")
        return reading

    async def _read(self, pod: PodState) -> PooledConnection | None:
        try:
            name = secret_name(pod.name, pod.launch_id)
            secret = await self._client.get("Secret", pod.namespace, name, deadline=Deadline(_CALL_SECONDS))
        except KubernetesError as error:
            _log.warning("The keys of a pool's pod can't be read", extra={"pod": pod.name, "cause": str(error)})
            self._connections.pop(pod.uid, None)
            return None
        found = connection_of(pod, secret)
        if found is None or found[1] is None:
            return None
        return PooledConnection(info=found[0], supervisor=found[1])

    async def connection(self, pod: PodState) -> PooledConnection | None:
        """Return how the supervisor in a pod is reached; `None` where nobody can tell."""
        reading = self._reading(pod)
        await asyncio.wait([reading])
        # Where the pod is gone meanwhile, nobody reads its keys any more.
        return None if reading.cancelled() else reading.result()

    def waiting(self, kernelspec: str | None = None) -> list[PodState]:
        """Return the pods that are in waiting, or on their way to it, of one kernelspec or of all."""
        return [
            pod for pod in self.pods.objects.values() if kernelspec in (None, pod.annotations.get(labels.KERNEL_NAME_ANNOTATION))
        ]

    # ------------------------------------------------------------------------------------------------------- claiming

    async def claim(self, plan: LaunchPlan, *, deadline: Deadline) -> ClaimedPod | None:
        """Return a pod that is the kernel's of a plan from now on; `None` where there is none that it could have.

        Raises
        ------
        KubernetesError
            The cluster can't be asked.
        """
        for pod in self._candidates(plan):
            self._taken.add(pod.uid)
            connection = await self.connection(pod)
            claimed = None if connection is None else await self._claim(pod, plan, deadline)
            if connection is not None and claimed is not None:
                return ClaimedPod(state=claimed, connection=connection, environment=claimed_environment(plan.pod))
        return None

    async def _claim(self, pod: PodState, plan: LaunchPlan, deadline: Deadline) -> PodState | None:
        at = text_of(self._now())
        change = claim_of_pod(plan, uid=pod.uid, version=pod.version, launch_id=pod.launch_id, at=at)
        try:
            return pod_state(await self._client.patch("Pod", pod.namespace, pod.name, change, deadline=deadline))
        except ObjectNotFound:
            return None
        except ObjectExists:
            # Another replica was faster, or the pod has changed since. Or the answer to this very claim was lost, and it was
            # repeated: then the pod is this kernel's.
            self._taken.discard(pod.uid)
            try:
                found = pod_state(await self._client.get("Pod", pod.namespace, pod.name, deadline=deadline))
            except ObjectNotFound:
                return None
            return found if found.uid == pod.uid and found.kernel_id == plan.kernel_id else None

    async def record(self, claimed: ClaimedPod, plan: LaunchPlan, *, deadline: Deadline) -> None:
        """Write what other replicas need to know of the kernel that has claimed a pod.

        Raises
        ------
        KubernetesError
            It can't be written.
        """
        pod = claimed.state
        name, record = secret_name(pod.name, pod.launch_id), claim_of_secret(plan, launch_id=pod.launch_id)
        await self._client.patch("Secret", pod.namespace, name, record, deadline=deadline)

    def _candidates(self, plan: LaunchPlan) -> Iterator[PodState]:
        tried: set[str] = set()
        while True:
            found = [
                pod
                for pod in self.pods.objects.values()
                if pod.uid not in tried
                and pod.uid not in self._taken
                and is_ready(pod)
                and pod.namespace == plan.namespace
                and pod.labels.get(labels.POOL_FINGERPRINT) == plan.fingerprint
            ]
            if not found:
                return
            pod = self._choose(found)
            tried.add(pod.uid)
            yield pod

    # --------------------------------------------------------------------------------------------------------- ending

    async def make_room(self, namespace: str) -> bool:
        """Take away the pods in waiting of a namespace, for a kernel that finds no room beside them; tell whether any was."""
        pods = [pod for pod in self.pods.objects.values() if pod.namespace == namespace and not pod.deleting]
        removed = await asyncio.gather(*map(self.remove, pods), return_exceptions=True)
        made = any(result is True for result in removed)
        self._gave_way = self._gave_way or made
        return made

    def gave_way(self) -> bool:
        """Tell whether pods were taken away for a kernel since this was asked last."""
        gave_way, self._gave_way = self._gave_way, False
        return gave_way

    async def collect_orphans(self, *, older_than: float, now: datetime) -> list[str]:
        """Take away the Secrets whose pods a gateway died before making; return what was taken.

        Parameters
        ----------
        older_than
            Seconds: what is younger may belong to a pod that is about to be made.
        """
        known = {(pod.namespace, pod.launch_id) for pod in self.pods.objects.values()}
        deadline, taken = Deadline(_CALL_SECONDS), []
        for namespace in self._namespaces:
            secrets, _ = await self._client.list("Secret", namespace, label_selector=self._selector, deadline=deadline)
            for metadata in (secret["metadata"] for secret in secrets):
                launch = metadata["namespace"], (metadata.get("labels") or {}).get(labels.KERNEL_LAUNCH, "")
                age = (now - datetime.fromisoformat(metadata["creationTimestamp"])).total_seconds()
                if launch not in known and age >= older_than and "deletionTimestamp" not in metadata:
                    where = metadata["namespace"], metadata["name"]
                    await self._client.delete("Secret", *where, uid=metadata["uid"], deadline=deadline)
                    taken.append(f"Secret {metadata['name']}")
        return taken

    async def remove(self, pod: PodState) -> bool:
        """Take a pod away that nobody has claimed, and tell whether that was still so; the rest of it goes with it.

        Raises
        ------
        KubernetesError
            It can't be.
        """
        self._taken.add(pod.uid)
        try:
            return await self._client.delete_unchanged(
                "Pod", pod.namespace, pod.name, uid=pod.uid, version=pod.version, grace=0, deadline=Deadline(_CALL_SECONDS)
            )
        finally:
            self._taken.discard(pod.uid)
