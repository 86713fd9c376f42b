"""How the containers of a kernel's pod are, each known by its name: admission may add others in any place."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from enterprise_gateway_common import labels

__all__ = ["ContainerEnd", "ContainerState", "container_states", "kernel_container_name"]

_ID_VARIABLE = "KERNEL_ID"
_ALWAYS = "Always"


@dataclass(frozen=True, kw_only=True)
class ContainerEnd:
    """How a container ended."""

    exit_code: int
    reason: str
    message: str
    """Its last lines, as far as the kubelet tells them."""


@dataclass(frozen=True, kw_only=True)
class ContainerState:
    """How one container of a pod is."""

    name: str
    restartable: bool
    """Whether the kubelet starts it again whenever it ends, so that an end of it means nothing to the pod."""
    running: bool
    started: bool
    """Whether it runs and its startup probe, if it has one, has succeeded."""
    waiting_reason: str
    waiting_message: str
    end: ContainerEnd | None
    """`None` while it hasn't ended."""
    former_end: ContainerEnd | None
    """How it ended before the kubelet started it again; `None` where it didn't."""
    memory_limit: str
    image_id: str = ""
    """The digest of what it runs; empty before it does."""


def kernel_container_name(pod: Mapping[str, Any]) -> str:
    """Return the name of the container that a kernel runs in; empty where a pod has no containers."""
    containers = (pod.get("spec") or {}).get("containers") or []
    names = [container["name"] for container in containers]
    written = (pod["metadata"].get("annotations") or {}).get(labels.KERNEL_CONTAINER_ANNOTATION)
    if written in names:
        return str(written)
    # Older gateways didn't write it. They gave the kernel's container the kernel's id, and no other one.
    knowing = [container["name"] for container in containers if _knows_its_id(container, pod["metadata"])]
    return next(iter([*knowing, *names]), "")


def _knows_its_id(container: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    kernel_id = (metadata.get("labels") or {}).get(labels.KERNEL_ID)
    variables = container.get("env") or []
    return any(entry.get("name") == _ID_VARIABLE and entry.get("value") == kernel_id for entry in variables)


def container_states(
    containers: Sequence[Mapping[str, Any]] | None, statuses: Iterable[Mapping[str, Any]] | None, *, memory_limit: str = ""
) -> tuple[ContainerState, ...]:
    """Return how the containers of a specification are, in its order; those that the kubelet hasn't told of are left out.

    Parameters
    ----------
    memory_limit
        The limit of the whole pod, which binds the containers that have none of their own.
    """
    by_name = {status["name"]: status for status in statuses or ()}
    return tuple(
        _state(container, by_name[container["name"]], memory_limit)
        for container in containers or ()
        if container["name"] in by_name
    )


def _state(container: Mapping[str, Any], status: Mapping[str, Any], pod_limit: str) -> ContainerState:
    state = status.get("state") or {}
    waiting, running = state.get("waiting") or {}, "running" in state
    own_limit = ((container.get("resources") or {}).get("limits") or {}).get("memory", "")
    return ContainerState(
        name=container["name"],
        restartable=container.get("restartPolicy") == _ALWAYS,
        running=running,
        started=running and status.get("started") is not False,
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        end=_end(state),
        former_end=_end(status.get("lastState") or {}),
        memory_limit=own_limit or pod_limit,
        image_id=status.get("imageID", ""),
    )


def _end(state: Mapping[str, Any]) -> ContainerEnd | None:
    ended = state.get("terminated")
    if not ended:
        return None
    return ContainerEnd(exit_code=ended.get("exitCode", 0), reason=ended.get("reason", ""), message=ended.get("message", ""))
