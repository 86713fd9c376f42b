"""Kubernetes as the only store: what is known of a kernel stands on its pod and in its Secret.

A gateway that didn't start a kernel reads its record and goes on with it; nothing else has to be saved or restored.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from enterprise_gateway.cluster.client import ClusterClient, Document
from enterprise_gateway.cluster.deadline import Deadline
from enterprise_gateway.cluster.informer import Informer
from enterprise_gateway.cluster.pods import PodState
from enterprise_gateway.errors import KubernetesError
from enterprise_gateway.launch.names import RECORD_VERSION
from enterprise_gateway.launch.secret import LAUNCH_RECORD, read_secret
from enterprise_gateway_common import labels
from enterprise_gateway_common.connection import CONNECTION_FILE, InvalidConnectionInfo, parse_connection_file

__all__ = ["KernelRecord", "KernelStore"]

_log = logging.getLogger(__name__)

_CALL_SECONDS = 30.0


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
    last_activity: str | None
    """ISO 8601; `None` where no gateway has written one yet."""
    owns_namespace: bool


class KernelStore:
    """Reads and writes the records of kernels.

    Parameters
    ----------
    pods
        The picture of the kernels' pods.
    """

    def __init__(self, *, client: ClusterClient, pods: Informer[PodState], label_selector: str, namespace: str | None) -> None:
        self._client = client
        self._pods = pods
        self._selector = label_selector
        self._namespace = namespace

    async def records(self) -> list[KernelRecord]:
        """Return every kernel that can be adopted: its pod runs and its record is whole. Two calls, however many there are."""
        secrets, namespaces = await self._listed("Secret", self._namespace), await self._own_namespaces()
        by_launch = {_launch_of(secret): secret for secret in secrets}
        found = []
        for pod in list(self._pods.objects.values()):
            secret = by_launch.get((pod.namespace, pod.kernel_id, pod.launch_id))
            record = None if secret is None else _record(pod, secret, owns_namespace=pod.namespace in namespaces)
            if record is not None and pod.running and not pod.deleting:
                found.append(record)
        return found

    async def record_activity(self, pod: PodState, moment: datetime) -> None:
        """Write when a kernel was last used, for the gateway that culls it."""
        text = moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
        body = {"metadata": {"annotations": {labels.LAST_ACTIVITY_ANNOTATION: text}}}
        await self._client.patch("Pod", pod.namespace, pod.name, body, deadline=Deadline(_CALL_SECONDS))

    async def collect_orphans(self, *, older_than: float, now: datetime) -> list[str]:
        """Take away what gateways left that died in the middle of a start, and what ended; return what was taken.

        Parameters
        ----------
        older_than
            Seconds: what is younger may belong to a start that is under way.
        """
        taken = []
        pods = {(pod.namespace, pod.kernel_id) for pod in self._pods.objects.values()}
        for kind, namespace in (("Namespace", None), ("Secret", self._namespace)):
            if kind == "Namespace" and self._namespace is not None:
                continue
            for item in await self._listed(kind, namespace):
                metadata = item["metadata"]
                home = metadata["name"] if kind == "Namespace" else metadata["namespace"]
                belongs = (home, (metadata.get("labels") or {}).get(labels.KERNEL_ID)) in pods
                if belongs or "deletionTimestamp" in metadata or _age(metadata, now) < older_than:
                    continue
                try:
                    await self._client.delete(
                        kind, metadata.get("namespace"), metadata["name"], uid=metadata["uid"], deadline=Deadline(_CALL_SECONDS)
                    )
                except KubernetesError as error:
                    _log.warning(
                        "An orphan can't be taken away", extra={"kind": kind, "object": metadata["name"], "cause": str(error)}
                    )
                    continue
                taken.append(f"{kind} {metadata['name']}")
        return taken

    async def _own_namespaces(self) -> frozenset[str]:
        """Return the namespaces that were made for kernels."""
        if self._namespace is not None:
            return frozenset()
        return frozenset(item["metadata"]["name"] for item in await self._listed("Namespace", None))

    async def _listed(self, kind: str, namespace: str | None) -> list[Document]:
        items, _ = await self._client.list(kind, namespace, label_selector=self._selector, deadline=Deadline(_CALL_SECONDS))
        return items


def _launch_of(secret: Document) -> tuple[str, str, str]:
    own = secret["metadata"].get("labels") or {}
    return secret["metadata"]["namespace"], own.get(labels.KERNEL_ID, ""), own.get(labels.KERNEL_LAUNCH, "")


def _record(pod: PodState, secret: Document, *, owns_namespace: bool) -> KernelRecord | None:
    if pod.annotations.get(labels.RECORD_VERSION_ANNOTATION) != RECORD_VERSION:
        _log.warning("A kernel's record has a version that isn't known here", extra={"kernel_id": pod.kernel_id})
        return None
    texts = read_secret(secret)
    try:
        connection = parse_connection_file(texts[CONNECTION_FILE])
        environment = json.loads(texts[LAUNCH_RECORD])["environment"]
    except (KeyError, ValueError, InvalidConnectionInfo) as error:
        _log.warning("A kernel's record can't be read", extra={"kernel_id": pod.kernel_id, "cause": type(error).__name__})
        return None
    return KernelRecord(
        kernel_id=pod.kernel_id,
        kernel_name=pod.annotations.get(labels.KERNEL_NAME_ANNOTATION, ""),
        username=pod.annotations.get(labels.USERNAME_ANNOTATION, ""),
        pod=pod,
        secret=secret["metadata"]["name"],
        connection_info={**connection, "ip": pod.ip, "key": connection["key"].encode()},
        environment=environment,
        last_activity=pod.annotations.get(labels.LAST_ACTIVITY_ANNOTATION),
        owns_namespace=owns_namespace,
    )


def _age(metadata: Mapping[str, Any], now: datetime) -> float:
    created = datetime.fromisoformat(metadata["creationTimestamp"])
    return (now - created).total_seconds()
