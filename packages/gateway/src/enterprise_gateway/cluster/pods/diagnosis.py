"""Why a kernel can't start, or why it ended, in Kubernetes' own words for the person who waits for it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from enterprise_gateway.cluster.pods.containers import ContainerEnd, ContainerState
from enterprise_gateway.cluster.pods.state import PodState
from enterprise_gateway_common.termination import OUT_OF_MEMORY, split_termination_message

__all__ = ["Graces", "cause_of_end", "cause_of_failure", "exit_status", "failed_container", "kind_of_trouble", "waiting_words"]

_HOPELESS = frozenset(
    {
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
_CRASHING = "CrashLoopBackOff"
_NEVER_BEGAN = frozenset({"StartError", "ContainerCannotRun"})
_PULLING = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "SignatureValidationFailed"})
# What a registry says when trying again can't help.
_NO_SUCH_IMAGE = re.compile(
    r"not found|manifest unknown|denied|unauthorized|authorization failed|does not exist|403|401", re.IGNORECASE
)
_ON_ITS_WAY = frozenset({"", "ContainerCreating", "PodInitializing"})
_LONGEST_WORDS = 600
_LAST_LINES = 12
_UNKNOWN_STATUS = 1
_OUT_OF_MEMORY = "OOMKilled"


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
    for container, subject in _containers(state):
        reason, words = container.waiting_reason, container.waiting_message
        if reason == _CRASHING and _holds_up_the_kernel(container, state):
            return f"{subject} ends again and again.{_last_end(container)}"
        if reason in _HOPELESS or (reason in _PULLING and (_NO_SUCH_IMAGE.search(words) or troubled_for >= graces.image_pull)):
            return _with_detail(f"{subject} can't start: {reason}", words)
    return None


def waiting_words(state: PodState) -> str | None:
    """Return what a starting pod waits for, be it trouble that may mend itself or an image; `None` where nobody can tell."""
    if state.unschedulable:
        return f"Waiting for a node: {_short(state.unschedulable)}"
    for container, subject in _containers(state):
        if container.waiting_reason == _CRASHING:
            return f"Waiting for {_lower(subject)}, which ends again and again.{_last_end(container)}"
        if container.waiting_reason not in _ON_ITS_WAY:
            return _with_detail(f"Waiting for {_lower(subject)}: {container.waiting_reason}", container.waiting_message)
    if (awaited := state.awaited) is not None and awaited.running:
        still = "its startup probe hasn't succeeded yet" if awaited.restartable else "it hasn't finished yet"
        return f"Waiting for {_lower(_name(awaited))}: {still}."
    return _words_of_node(state)


def _words_of_node(state: PodState) -> str | None:
    if state.node_silent:
        return f"Waiting for node {state.node}, which doesn't report to the cluster."
    if state.node and state.awaited is None and not (state.kernel is not None and state.kernel.running):
        return f"Waiting for node {state.node} to begin the kernel's container; an image that isn't there yet is pulled first."
    return None


def kind_of_trouble(state: PodState) -> str | None:
    """Return what kind of trouble a starting pod has now, the same however its words change; `None` where it has none.

    The scheduler counts nodes anew in each of its sentences, and the kubelet tells of one failing pull by turns as of an
    error and as of a pause before the next attempt.
    """
    if state.unschedulable:
        return "unschedulable"
    for container, _ in _containers(state):
        if container.waiting_reason in _PULLING:
            return "pulling"
        if container.waiting_reason not in _ON_ITS_WAY:
            return container.waiting_reason
    return None


def cause_of_end(state: PodState) -> str:
    """Return why a kernel's pod ended."""
    kernel = state.kernel
    if kernel is not None and kernel.end is not None and (cause := _lack_of_memory(kernel, kernel.end)):
        return cause
    if cause := _cause_from_outside(state):
        return cause
    if kernel is not None and kernel.end is not None:
        return _exit_words("The kernel", kernel, kernel.end)
    if (failed := failed_container(state)) is not None and failed.end is not None:
        return _exit_words(_name(failed), failed, failed.end)
    if state.reason or state.message:
        return _with_detail(f"The kernel's pod ended: {state.reason or state.phase}", state.message)
    return "The kernel's pod has ended."


def failed_container(state: PodState) -> ContainerState | None:
    """Return the container whose end was the pod's: the kernel's, or the init container that failed before it could begin."""
    if state.kernel is not None and state.kernel.end is not None:
        return state.kernel
    ended = (container for container in state.init_containers if container.end is not None)
    return next((container for container in ended if container.end is not None and container.end.exit_code != 0), None)


def _lack_of_memory(kernel: ContainerState, end: ContainerEnd) -> str | None:
    """Return that a kernel ran out of memory, if it did.

    Its supervisor knows best. The node's word is about the whole container: some nodes say it of a kernel that ended by
    itself long after one of its processes was killed, others don't where it was only the kernel that was killed.
    """
    told, _ = split_termination_message(end.message)
    if told is not None:
        return _exit_words("The kernel", kernel, end) if OUT_OF_MEMORY in told else None
    if end.reason != _OUT_OF_MEMORY:
        return None
    return f"The kernel was ended because it ran out of memory: {_memory_words(kernel)}."


def _cause_from_outside(state: PodState) -> str | None:
    """Return what the cluster did to a pod; the signal that ends its kernel then isn't the cause."""
    if state.reason == "Evicted" or state.disruption:
        return _with_detail("The kernel's pod was evicted from its node", state.message or state.disruption)
    if state.lost:
        # Whoever starts the kernel again deletes such a pod, perhaps before this replica looks.
        return f"The kernel's node {state.node} doesn't answer any more, nor does the kernel itself."
    return "The kernel's pod was deleted." if state.deleting else None


def exit_status(state: PodState) -> int:
    """Return the exit status of a kernel that ended."""
    kernel = state.kernel
    return _UNKNOWN_STATUS if kernel is None or kernel.end is None else kernel.end.exit_code


# ---------------------------------------------------------------------------------------------------------- containers


def _containers(state: PodState) -> Iterator[tuple[ContainerState, str]]:
    """Yield every container of a pod in the order in which they start, with what it is called in a sentence."""
    for container in state.init_containers:
        yield container, _name(container)
    for container in state.containers:
        is_kernels = container.name == state.kernel_container
        yield container, "The kernel's container" if is_kernels else f"The container '{container.name}'"


def _name(init_container: ContainerState) -> str:
    kind = "sidecar container" if init_container.restartable else "init container"
    return f"The {kind} '{init_container.name}'"


def _lower(subject: str) -> str:
    return subject[0].lower() + subject[1:]


def _holds_up_the_kernel(container: ContainerState, state: PodState) -> bool:
    # One beside the kernel is started again for as long as the kernel runs, and the kernel needn't care.
    return container.name == state.kernel_container or container in state.init_containers


def _last_end(container: ContainerState) -> str:
    former = container.former_end
    return f" {_exit_words('It', container, former)}" if former is not None else ""


def _exit_words(subject: str, container: ContainerState, end: ContainerEnd) -> str:
    if end.reason in _NEVER_BEGAN:
        # The message is the runtime's then, of a program that never said anything.
        return _with_detail(f"{subject} can't start: {end.reason}", end.message)
    told, words = split_termination_message(end.message)
    lines = [line for line in words.splitlines() if line.strip()][-_LAST_LINES:]
    said = f" It last wrote: {_short(chr(10).join(lines))}" if lines else ""
    if told is not None:
        return f"{_short(told)}{said}"
    reason = _memory_words(container) if end.reason == _OUT_OF_MEMORY else end.reason
    because = f" ({reason})" if reason not in {"", "Error", "Completed"} else ""
    return f"{subject} exited with status {end.exit_code}{because}.{said}"


def _memory_words(container: ContainerState) -> str:
    limit = f" ({container.memory_limit})" if container.memory_limit else ""
    return f"{_OUT_OF_MEMORY}, it used more than its limit{limit}"


def _with_detail(words: str, detail: str) -> str:
    return f"{words}: {_short(detail)}" if detail else f"{words}."


def _short(text: str) -> str:
    # Its end says more than its beginning: that is where a program names the cause.
    return text if len(text) <= _LONGEST_WORDS else f"…{text[-_LONGEST_WORDS:]}"
