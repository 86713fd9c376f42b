"""The little that is kept of a kernel's pod: enough to know where it is, how it is and why it ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from enterprise_gateway_common import labels

__all__ = ["ContainerState", "PodKey", "PodState", "is_later", "pod_state"]

PodKey = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, kw_only=True)
class ContainerState:
    """How one container of a pod is."""

    name: str
    running: bool
    waiting_reason: str
    waiting_message: str
    ended_reason: str
    ended_message: str
    exit_code: int | None
    """`None` while it hasn't ended."""
    memory_limit: str


@dataclass(frozen=True, kw_only=True)
class PodState:
    """How a pod is."""

    namespace: str
    name: str
    uid: str
    version: str
    kernel_id: str
    launch_id: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    created: str
    deleting: bool
    ip: str
    node: str
    phase: str
    reason: str
    message: str
    unschedulable: str
    """Why no node takes it; empty where one does or nobody has looked yet."""
    node_lost: bool
    """Its node doesn't report any more: its containers were ready, and the cluster says that the pod isn't."""
    disruption: str
    """Why the cluster ends it: preemption, a drain, a taint; empty where it doesn't."""
    containers: tuple[ContainerState, ...]

    @property
    def key(self) -> PodKey:
        """Where it is kept."""
        return self.namespace, self.name

    @property
    def running(self) -> bool:
        """Whether every container runs and the pod can be reached."""
        return self.phase == "Running" and bool(self.ip) and all(container.running for container in self.containers)

    @property
    def ended(self) -> bool:
        """Whether the kernel doesn't run any more, or can't be reached for good."""
        over = any(container.exit_code is not None for container in self.containers[:1])
        return over or self.phase in {"Succeeded", "Failed"} or self.node_lost


def is_later(pod: PodState, other: PodState) -> bool:
    """Tell whether a pod was made later than another of its name; `False` for two of the same second."""
    return pod.uid != other.uid and pod.created > other.created


def pod_state(pod: Mapping[str, Any]) -> PodState:
    """Return how a pod is."""
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    own_labels = metadata.get("labels") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or []}
    scheduled, disrupted = conditions.get("PodScheduled", {}), conditions.get("DisruptionTarget", {})
    ready, containers_ready = conditions.get("Ready", {}), conditions.get("ContainersReady", {})
    return PodState(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        version=metadata.get("resourceVersion", ""),
        kernel_id=own_labels.get(labels.KERNEL_ID, ""),
        launch_id=own_labels.get(labels.KERNEL_LAUNCH, ""),
        labels=own_labels,
        annotations=metadata.get("annotations") or {},
        created=metadata.get("creationTimestamp", ""),
        deleting="deletionTimestamp" in metadata,
        ip=status.get("podIP", ""),
        node=spec.get("nodeName", ""),
        phase=status.get("phase", ""),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        unschedulable=scheduled.get("message", "") if scheduled.get("reason") == "Unschedulable" else "",
        node_lost=ready.get("status") == "False" and containers_ready.get("status") == "True" and not spec.get("readinessGates"),
        disruption=disrupted.get("message") or disrupted.get("reason", "") if disrupted.get("status") == "True" else "",
        containers=_containers(spec, status),
    )


def _containers(spec: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[ContainerState, ...]:
    by_name = {entry["name"]: entry.get("state") or {} for entry in status.get("containerStatuses") or []}
    found = []
    # In the order of the specification: the first is the kernel's. The status lists them by name.
    for container in spec.get("containers") or []:
        if container["name"] not in by_name:
            continue
        state = by_name[container["name"]]
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        found.append(
            ContainerState(
                name=container["name"],
                running="running" in state,
                waiting_reason=waiting.get("reason", ""),
                waiting_message=waiting.get("message", ""),
                ended_reason=ended.get("reason", ""),
                ended_message=ended.get("message", ""),
                exit_code=ended.get("exitCode") if ended else None,
                memory_limit=((container.get("resources") or {}).get("limits") or {}).get("memory", ""),
            )
        )
    return tuple(found)
