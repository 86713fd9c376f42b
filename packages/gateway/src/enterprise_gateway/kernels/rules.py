"""What the registry of kernels is given: the administrator's choices, and those whom it works with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from enterprise_gateway.kernels.culling import CullingRules
from enterprise_gateway.kernels.kernel import Kernel
from enterprise_gateway.kernels.lifecycle import KernelLifecycle
from enterprise_gateway.kernels.limits import KernelLimits
from enterprise_gateway.kernelspecs.authorization import UserLists
from enterprise_gateway.kernelspecs.catalogue import Kernelspec
from enterprise_gateway.launch.environment import EnvironmentRules
from enterprise_gateway.launch.request import LaunchRequest

__all__ = ["KernelFactory", "KernelMetrics", "KernelRules", "NoPeers", "Peers"]


@dataclass(frozen=True, kw_only=True)
class KernelRules:
    """Everything that an administrator decides about kernels and may change while the gateway runs."""

    default_kernel_name: str
    default_user: str
    launch_timeout: float
    max_launch_timeout: float
    users: UserLists
    limits: KernelLimits
    culling: CullingRules
    environment: EnvironmentRules


class KernelMetrics(Protocol):
    """Who counts what happens to kernels."""

    def launch_finished(self, kernelspec: str, seconds: float, outcome: str, phases: Mapping[str, float]) -> None:
        """Count a start that is over; `outcome` is `success` or the name of the error's class, `phases` its parts' seconds."""

    def kernel_culled(self) -> None:
        """Count a kernel that was shut down because nobody used it."""


class KernelFactory(Protocol):
    """Who makes the objects of a new kernel."""

    def __call__(
        self, *, kernel_id: str, kernelspec: Kernelspec, user: str, request: LaunchRequest | None = None
    ) -> tuple[Kernel, KernelLifecycle]:
        """Return a kernel that hasn't been started; without a request it is one that runs already, and its record tells."""


class Peers(Protocol):
    """Knows of kernels that other processes started."""

    def owners(self) -> Mapping[str, str]:
        """Return the owner of every kernel that others can see as well, by the kernel's id."""

    async def owners_now(self) -> Mapping[str, str]:
        """Return the same as it is this moment, though nobody here has seen it yet."""

    @property
    def in_order(self) -> bool:
        """Whether what is seen now is all that came about before what was seen last, and nothing later."""

    def check_synced(self) -> None:
        """Return where every kernel of other processes is known; raises `ClusterNotSynced` where there may be others."""

    async def look_up(self, kernel_id: str) -> None:
        """Make a kernel known that another process has only just started, where there is one of this id."""


class NoPeers:
    """There is nobody else."""

    in_order = True

    def owners(self) -> Mapping[str, str]:
        """Return nothing."""
        return {}

    async def owners_now(self) -> Mapping[str, str]:
        """Return nothing."""
        return {}

    def check_synced(self) -> None:
        """Return: there is none."""

    async def look_up(self, kernel_id: str) -> None:
        """Find nothing."""
