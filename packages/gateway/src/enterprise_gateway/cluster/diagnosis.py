"""Why a kernel can't start, or why it ended, in Kubernetes' own words for the person who waits for it."""

import re
from dataclasses import dataclass

from enterprise_gateway.cluster.pods import ContainerState, PodState

__all__ = ["Graces", "cause_of_end", "cause_of_failure", "exit_status", "kind_of_trouble", "waiting_words"]

_HOPELESS = frozenset(
    {
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "CrashLoopBackOff",
    }
)
_PULLING = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "SignatureValidationFailed"})
# What a registry says when trying again can't help.
_NO_SUCH_IMAGE = re.compile(
    r"not found|manifest unknown|denied|unauthorized|authorization failed|does not exist|403|401", re.IGNORECASE
)
_ON_ITS_WAY = frozenset({"", "ContainerCreating", "PodInitializing"})
_LONGEST_WORDS = 600
_LAST_LINES = 12
_UNKNOWN_STATUS = 1


@dataclass(frozen=True, kw_only=True)
class Graces:
    """For how many seconds a start waits for what may mend itself."""

    unschedulable: float = 20.0
    """An autoscaler needs time to bring a node."""
    image_pull: float = 15.0
    """A registry may be busy."""


def cause_of_failure(state: PodState, *, troubled_for: float, graces: Graces) -> str | None:
    """Return why a start can't succeed any more; `None` while it can.

    Parameters
    ----------
    troubled_for
        Seconds for which the pod's present kind of trouble (see `kind_of_trouble`) has been seen.
    """
    if state.ended:
        return cause_of_end(state)
    if state.deleting:
        return _with_detail("The kernel's pod was deleted while it started", state.disruption)
    if state.unschedulable and troubled_for >= graces.unschedulable:
        return f"No node can take the kernel's pod: {_short(state.unschedulable)}"
    for container in state.containers:
        reason, words = container.waiting_reason, container.waiting_message
        if reason in _HOPELESS or (reason in _PULLING and (_NO_SUCH_IMAGE.search(words) or troubled_for >= graces.image_pull)):
            return _with_detail(f"The kernel's container can't start: {reason}", words)
    return None


def waiting_words(state: PodState) -> str | None:
    """Return the trouble that a starting pod has now, though it may mend itself; `None` where it has none."""
    if state.unschedulable:
        return f"Waiting for a node: {_short(state.unschedulable)}"
    for container in state.containers:
        if container.waiting_reason not in _ON_ITS_WAY:
            return _with_detail(f"Waiting for the container: {container.waiting_reason}", container.waiting_message)
    return None


def kind_of_trouble(state: PodState) -> str | None:
    """Return what kind of trouble a starting pod has now, the same however its words change; `None` where it has none.

    The scheduler counts nodes anew in each of its sentences, and the kubelet tells of one failing pull by turns as of an
    error and as of a pause before the next attempt.
    """
    if state.unschedulable:
        return "unschedulable"
    for container in state.containers:
        if container.waiting_reason in _PULLING:
            return "pulling"
        if container.waiting_reason not in _ON_ITS_WAY:
            return container.waiting_reason
    return None


def cause_of_end(state: PodState) -> str:
    """Return why a kernel's pod ended."""
    kernel = state.containers[0] if state.containers else None
    if kernel is not None and kernel.ended_reason == "OOMKilled":
        limit = f" ({kernel.memory_limit})" if kernel.memory_limit else ""
        return f"The kernel was ended because it ran out of memory: OOMKilled, it used more than its limit{limit}."
    if cause := _cause_from_outside(state):
        return cause
    if kernel is not None and kernel.exit_code is not None:
        return _exit_words(kernel)
    if state.reason or state.message:
        return _with_detail(f"The kernel's pod ended: {state.reason or state.phase}", state.message)
    return "The kernel's pod has ended."


def _cause_from_outside(state: PodState) -> str | None:
    """Return what the cluster did to a pod; the signal that ends its kernel then isn't the cause."""
    if state.node_lost:
        return f"The kernel's node {state.node} doesn't answer any more."
    if state.reason == "Evicted" or state.disruption:
        return _with_detail("The kernel's pod was evicted from its node", state.message or state.disruption)
    return "The kernel's pod was deleted." if state.deleting else None


def exit_status(state: PodState) -> int:
    """Return the exit status of a kernel that ended."""
    kernel = state.containers[0] if state.containers else None
    return _UNKNOWN_STATUS if kernel is None or kernel.exit_code is None else kernel.exit_code


def _exit_words(kernel: ContainerState) -> str:
    lines = [line for line in kernel.ended_message.splitlines() if line.strip()][-_LAST_LINES:]
    reason = f" ({kernel.ended_reason})" if kernel.ended_reason not in {"", "Error", "Completed"} else ""
    said = f" It last wrote: {_short(chr(10).join(lines))}" if lines else ""
    return f"The kernel exited with status {kernel.exit_code}{reason}.{said}"


def _with_detail(words: str, detail: str) -> str:
    return f"{words}: {_short(detail)}" if detail else f"{words}."


def _short(text: str) -> str:
    # Its end says more than its beginning: that is where a program names the cause.
    return text if len(text) <= _LONGEST_WORDS else f"…{text[-_LONGEST_WORDS:]}"
