"""The little that is kept of a kernel's pod: enough to know where it is, how it is and why it ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from enterprise_gateway.cluster.pods.containers import ContainerState, container_states, kernel_container_name
from enterprise_gateway_common import labels

__all__ = ["PodKey", "PodState", "is_later", "pod_state"]

# Something else than the node's silence keeps such a pod from being ready, and the kubelet says so itself.
_GATES_REASON = "ReadinessGatesNotReady"

PodKey = tuple[str, str]
"""Namespace and name."""


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
    node_silent: bool
    """Its node doesn't report: its containers were ready, and the cluster says that the pod isn't. The kernel may well run."""
    lost: bool
    """Whether a replica wrote that the kernel is lost: neither its node nor the kernel itself answers."""
    disruption: str
    """Why the cluster ends it: preemption, a drain, a taint; empty where it doesn't."""
    kernel_container: str
    """The name of the container that the kernel runs in; admission may have put others before it."""
    containers: tuple[ContainerState, ...]
    init_containers: tuple[ContainerState, ...]

    @property
    def key(self) -> PodKey:
        """Where it is kept."""
        return self.namespace, self.name

    @property
    def kernel(self) -> ContainerState | None:
        """The kernel's container; `None` before the kubelet tells of it."""
        return next((container for container in self.containers if container.name == self.kernel_container), None)

    @property
    def awaited(self) -> ContainerState | None:
        """The init container that the kernel's own has to wait for now; `None` where it waits for none."""
        if self.kernel is not None and (self.kernel.running or self.kernel.end is not None):
            return None
        return next((container for container in self.init_containers if not _lets_others_begin(container)), None)

    @property
    def running(self) -> bool:
        """Whether the kernel's container runs, the others have begun, and the pod can be reached.

        What becomes of the others afterwards is nothing to the kernel: one that has ended may have done its work.
        """
        return self.phase == "Running" and bool(self.ip) and self.kernel is not None and self.kernel.running

    @property
    def ended(self) -> bool:
        """Whether the kernel doesn't run any more, or can't be reached for good."""
        over = self.kernel is not None and self.kernel.end is not None
        return over or self.phase in {"Succeeded", "Failed"} or self.lost


def _lets_others_begin(init_container: ContainerState) -> bool:
    if init_container.restartable:
        return init_container.started
    return init_container.end is not None and init_container.end.exit_code == 0


def is_later(pod: PodState, other: PodState) -> bool:
    """Tell whether a pod was made later than another of its name; `False` for two of the same second."""
    return pod.uid != other.uid and pod.created > other.created


def pod_state(pod: Mapping[str, Any]) -> PodState:
    """Return how a pod is."""
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    own_labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or []}
    scheduled, disrupted = conditions.get("PodScheduled", {}), conditions.get("DisruptionTarget", {})
    limit = ((spec.get("resources") or {}).get("limits") or {}).get("memory", "")
    return PodState(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        version=metadata.get("resourceVersion", ""),
        kernel_id=own_labels.get(labels.KERNEL_ID, ""),
        launch_id=own_labels.get(labels.KERNEL_LAUNCH, ""),
        labels=own_labels,
        annotations=annotations,
        created=metadata.get("creationTimestamp", ""),
        deleting="deletionTimestamp" in metadata,
        ip=status.get("podIP", ""),
        node=spec.get("nodeName", ""),
        phase=status.get("phase", ""),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        unschedulable=scheduled.get("message", "") if scheduled.get("reason") == "Unschedulable" else "",
        node_silent=_node_is_silent(conditions.get("Ready", {}), conditions.get("ContainersReady", {})),
        lost=labels.LOSS_ANNOTATION in annotations,
        disruption=disrupted.get("message") or disrupted.get("reason", "") if disrupted.get("status") == "True" else "",
        kernel_container=kernel_container_name(pod),
        containers=container_states(spec.get("containers"), status.get("containerStatuses"), memory_limit=limit),
        init_containers=container_states(spec.get("initContainers"), status.get("initContainerStatuses"), memory_limit=limit),
    )


def _node_is_silent(ready: Mapping[str, Any], containers_ready: Mapping[str, Any]) -> bool:
    # The cluster changes the one condition of a pod whose node doesn't report, and leaves the other as it was.
    silent = ready.get("status") == "False" and containers_ready.get("status") == "True"
    return silent and ready.get("reason") != _GATES_REASON
