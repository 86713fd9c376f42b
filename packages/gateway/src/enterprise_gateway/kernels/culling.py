"""Which kernels have been without use for too long."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from enterprise_gateway.kernels.kernel import ExecutionState, Kernel

__all__ = ["CullReason", "CullingRules", "cull_reason", "idle_timeout", "kernels_to_cull", "unclaimed_kernels"]

_log = logging.getLogger(__name__)


class CullReason(StrEnum):
    """Why a kernel is shut down that nobody asked to be."""

    IDLE = "idle"
    UNCLAIMED = "unclaimed"


@dataclass(frozen=True, kw_only=True)
class CullingRules:
    """The administrator's rules; a kernelspec may have a timeout of its own in `metadata.cull_idle_timeout`."""

    idle_timeout: float
    """Seconds; 0 never culls."""
    connected: bool
    """Cull although clients are connected."""
    busy: bool
    """Cull although the kernel is busy."""


def kernels_to_cull(kernels: Iterable[Kernel], rules: CullingRules) -> list[tuple[Kernel, str]]:
    """Return the kernels that have been idle for too long, each with the words for its user."""
    return [(kernel, reason) for kernel in kernels if (reason := cull_reason(kernel, rules)) is not None]


def cull_reason(kernel: Kernel, rules: CullingRules) -> str | None:
    """Return why a kernel is to be culled, or `None` where it stays."""
    timeout = idle_timeout(kernel, rules)
    # Kernels under way stay: a start or restart has a deadline of its own.
    if timeout <= 0 or kernel.execution_state in {ExecutionState.STARTING, ExecutionState.RESTARTING}:
        return None
    if kernel.idle_seconds < timeout:
        return None
    if kernel.execution_state == ExecutionState.BUSY and not rules.busy:
        return None
    # Where a connected client keeps a kernel, one whose line was lost a moment ago must have the time to come back.
    if kernel.unconnected_seconds < timeout and not rules.connected:
        return None
    if kernel.spared_seconds < timeout:
        return None
    return f"The kernel was shut down because it had not been used for {timeout:g} seconds."


def unclaimed_kernels(kernels: Iterable[Kernel]) -> list[tuple[Kernel, str]]:
    """Return the kernels that are up and that nobody came back to ask for, each with the words for its user."""
    # A start that isn't over has a deadline of its own, and a dead kernel is forgotten by itself.
    return [
        (kernel, "The kernel was shut down because nobody asked for it within the time for its start.")
        for kernel in kernels
        if kernel.is_unclaimed and kernel.execution_state in {ExecutionState.IDLE, ExecutionState.BUSY}
    ]


def idle_timeout(kernel: Kernel, rules: CullingRules) -> float:
    """Return the seconds without use after which a kernel is culled; 0 where it never is."""
    own = kernel.kernelspec.metadata.get("cull_idle_timeout")
    if own is None:
        return rules.idle_timeout
    if isinstance(own, int | float) and not isinstance(own, bool) and own >= 0:
        return float(own)
    _log.warning("metadata.cull_idle_timeout is no number of seconds", extra={"kernelspec": kernel.name})
    return rules.idle_timeout
