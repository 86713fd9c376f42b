"""Kubernetes as the only store: what is known of a kernel stands on its pod and in its Secret.

A gateway that didn't start a kernel reads its record and goes on with it; nothing else has to be saved or restored.
"""

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from enterprise_gateway.cluster.api.client import ClusterClient, Document
from enterprise_gateway.cluster.pods.annotations import ending_of, was_started
from enterprise_gateway.cluster.pods.state import PodKey, PodState, pod_state
from enterprise_gateway.cluster.watch.informer import Cache
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import KubernetesError, ObjectNotFound
from enterprise_gateway.launch.names import RECORD_VERSION, secret_name
from enterprise_gateway.launch.secret import GATEWAY_KEY, LAUNCH_RECORD, read_secret
from enterprise_gateway.launch.supervisor_address import SupervisorAddress
from enterprise_gateway_common import labels
from enterprise_gateway_common.connection import (
    CONNECTION_FILE,
    InvalidConnectionInfo,
    parse_connection_file,
    supervisor_settings,
)

__all__ = ["KernelRecord", "KernelStore", "connection_of"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

_CALL_SECONDS = 30.0
_LOOK_UP_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class KernelRecord:
    """A kernel as the cluster knows it."""

    kernel_id: str
    kernel_name: str
    username: str
    pod: PodState
    secret: str
    connection_info: Mapping[str, Any]
    """As jupyter_client takes it, with the pod's address; the keys in it are secrets."""
    environment: Mapping[str, str]
    judged: frozenset[str]
    """Names of the variables that its client decided."""
    supervisor: SupervisorAddress | None = None
    """Where its supervisor listens, if its launcher has one; the keys in it are secrets."""


class KernelStore:
    """Reads and writes the records of kernels.

    Parameters
    ----------
    pods
        The cache of the kernels' pods.
    namespaces
        Where to look; nothing for every namespace.
    """

    def __init__(
        self, *, client: ClusterClient, pods: Cache[PodState], label_selector: str, namespaces: Sequence[str] = ()
    ) -> None:
        self._client = client
        self._pods = pods
        self._selector = label_selector
        self._namespaces = tuple(namespaces)

    async def records(self) -> dict[PodKey, KernelRecord]:
        """Return the record of every kernel that has a whole one, by its pod. One list, however many there are."""
        pods = {(pod.namespace, pod.kernel_id, pod.launch_id): pod for pod in self._pods.objects.values()}

        def record_of(secret: Document) -> KernelRecord | None:
            pod = pods.get(_launch_of(secret))
            return None if pod is None else _record(pod, secret)

        records = await self._listed("Secret", record_of)
        return {record.pod.key: record for record in records if record is not None}

    async def record(self, pod: PodState) -> KernelRecord | None:
        """Return the record of one kernel; `None` where it isn't whole, which it may still become. One call.

        Raises
        ------
        KubernetesError
            It can't be read.
        """
        name = secret_name(pod.name, pod.launch_id)
        try:
            secret = await self._client.get("Secret", pod.namespace, name, deadline=Deadline(_CALL_SECONDS))
        except ObjectNotFound:
            return None
        return _record(pod, secret)

    async def find(self, kernel_id: str) -> PodState | None:
        """Return the pod of a kernel as the API server knows it this moment, for who can't wait for the watch. One call.

        Raises
        ------
        KubernetesError
            It can't be asked.
        """
        pods = await self._listed("Pod", pod_state, f",{labels.KERNEL_ID}={kernel_id}", seconds=_LOOK_UP_SECONDS)
        return next((pod for pod in pods if not pod.deleting), None)

    async def all_pods(self) -> list[PodState]:
        """Return the pods of all kernels as the API server knows them this moment. One call for each namespace.

        Raises
        ------
        KubernetesError
            It can't be asked.
        """
        return await self._listed("Pod", pod_state, seconds=_LOOK_UP_SECONDS)

    async def mark(self, pod: PodState, annotations: Mapping[str, str], *, seconds: float = _CALL_SECONDS) -> None:
        """Write something on a kernel's pod, which every replica then sees; not on a later pod of the same name.

        Raises
        ------
        KubernetesError
            It can't be written.
        """
        body = {"metadata": {"uid": pod.uid, "annotations": dict(annotations)}}
        await self._client.patch("Pod", pod.namespace, pod.name, body, deadline=Deadline(seconds))

    async def collect_orphans(self, *, older_than: float, now: datetime, answering: Collection[str] = ()) -> list[str]:
        """Take away what gateways left that died in the middle of a start or of an end; return what was taken.

        Parameters
        ----------
        older_than
            Seconds: what is younger may belong to a start that is under way.
        answering
            Kernels that are known to answer, though their pods don't say so yet.
        """
        pods = list(self._pods.objects.values())
        taken = [
            name
            for pod in pods
            if _abandoned(pod, answering=pod.kernel_id in answering) and _age(pod.created, now) >= older_than
            if (name := await self._take("Pod", pod.namespace, pod.name, pod.uid, grace=0))
        ]
        homes = {(pod.namespace, pod.kernel_id) for pod in pods}
        # Where the namespaces are given, none is made, and nothing is to be seen of others.
        for kind in ("Secret",) if self._namespaces else ("Namespace", "Secret"):
            for metadata in await self._listed(kind, _metadata_of):
                home = metadata["name"] if kind == "Namespace" else metadata["namespace"]
                belongs = (home, (metadata.get("labels") or {}).get(labels.KERNEL_ID)) in homes
                if belongs or "deletionTimestamp" in metadata or _age(metadata["creationTimestamp"], now) < older_than:
                    continue
                taken += filter(None, [await self._take(kind, metadata.get("namespace"), metadata["name"], metadata["uid"])])
        return taken

    async def _take(self, kind: str, namespace: str | None, name: str, uid: str, *, grace: int | None = None) -> str | None:
        """Delete an orphan and return what to call it; `None` where that failed."""
        try:
            await self._client.delete(kind, namespace, name, uid=uid, grace=grace, deadline=Deadline(_CALL_SECONDS))
        except KubernetesError as error:
            _log.warning("An orphan can't be taken away", extra={"kind": kind, "object": name, "cause": str(error)})
            return None
        return f"{kind} {name}"

    async def _listed(
        self, kind: str, convert: Callable[[Document], T], more: str = "", *, seconds: float = _CALL_SECONDS
    ) -> list[T]:
        deadline, selector, found = Deadline(seconds), self._selector + more, []
        for namespace in self._namespaces or (None,):
            made, _ = await self._client.list_as(kind, namespace, convert, label_selector=selector, deadline=deadline)
            found += made
        return found


def _metadata_of(item: Document) -> Document:
    metadata: Document = item["metadata"]
    return metadata


def _launch_of(secret: Document) -> tuple[str, str, str]:
    own = secret["metadata"].get("labels") or {}
    return secret["metadata"]["namespace"], own.get(labels.KERNEL_ID, ""), own.get(labels.KERNEL_LAUNCH, "")


def _abandoned(pod: PodState, *, answering: bool) -> bool:
    """Tell whether nobody takes an old pod for a kernel: its start was never over, or its end was announced and came."""
    if ending_of(pod) is not None:
        return pod.ended or pod.deleting
    # One that runs may be an older gateway's, which marks nothing: then it has no record.
    return not was_started(pod) and not (pod.running and (answering or labels.RECORD_VERSION_ANNOTATION not in pod.annotations))


def connection_of(pod: PodState, secret: Document) -> tuple[dict[str, Any], SupervisorAddress | None] | None:
    """Return how the kernel of a pod is reached, as its Secret tells it, and its supervisor; `None` where it doesn't."""
    texts = read_secret(secret)
    try:
        return _connection(pod, texts)
    except (KeyError, InvalidConnectionInfo):
        return None


def _connection(pod: PodState, texts: Mapping[str, str]) -> tuple[dict[str, Any], SupervisorAddress | None]:
    connection = parse_connection_file(texts[CONNECTION_FILE])
    listens = supervisor_settings(connection)
    info = {**connection, "ip": pod.ip, "key": connection["key"].encode()}
    if listens is None or GATEWAY_KEY not in texts:
        return info, None
    return info, SupervisorAddress(pod.ip, listens.port, listens.publickey, listens.gateway_publickey, texts[GATEWAY_KEY])


def _record(pod: PodState, secret: Document) -> KernelRecord | None:
    if pod.annotations.get(labels.RECORD_VERSION_ANNOTATION) != RECORD_VERSION:
        _log.warning("A kernel's record has a version that isn't known here", extra={"kernel_id": pod.kernel_id})
        return None
    texts = read_secret(secret)
    if CONNECTION_FILE not in texts or LAUNCH_RECORD not in texts:
        # A kernel that tells its connection itself hasn't done so yet, or the claim of a pool's pod isn't over.
        return None
    try:
        connection_info, supervisor = _connection(pod, texts)
        launch = json.loads(texts[LAUNCH_RECORD])
        environment = launch["environment"]
        # One that a gateway of an earlier version started doesn't tell: then all is the client's.
        judged = frozenset(launch.get("judged", environment))
    except (KeyError, ValueError, InvalidConnectionInfo) as error:
        _log.warning("A kernel's record can't be read", extra={"kernel_id": pod.kernel_id, "cause": type(error).__name__})
        return None
    return KernelRecord(
        kernel_id=pod.kernel_id,
        kernel_name=pod.annotations.get(labels.KERNEL_NAME_ANNOTATION, ""),
        username=pod.annotations.get(labels.USERNAME_ANNOTATION, ""),
        pod=pod,
        secret=secret["metadata"]["name"],
        connection_info=connection_info,
        supervisor=supervisor,
        environment=environment,
        judged=judged,
    )


def _age(created: str, now: datetime) -> float:
    return (now - datetime.fromisoformat(created)).total_seconds()
