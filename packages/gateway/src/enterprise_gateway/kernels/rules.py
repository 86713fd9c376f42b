"""What the registry of kernels is given: the administrator's choices, and those whom it works with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from enterprise_gateway.kernels.culling import CullingRules, CullReason
from enterprise_gateway.kernels.kernel import Kernel
from enterprise_gateway.kernels.lifecycle import KernelLifecycle
from enterprise_gateway.kernels.limits import KernelLimits
from enterprise_gateway.kernelspecs.authorization import UserLists
from enterprise_gateway.kernelspecs.catalogue import Kernelspec
from enterprise_gateway.launch.environment import EnvironmentRules, inherited_environment
from enterprise_gateway.launch.request import KernelFacts, LaunchRequest, compose_request
from enterprise_gateway.launch.variables import KernelVariables
from enterprise_gateway.provisioners.registry import kernelspec_environment, runs_here, runs_in_cluster

__all__ = ["KernelFactory", "KernelMetrics", "KernelRules", "Peers", "RulesInForce"]


@dataclass(frozen=True, kw_only=True)
class KernelRules:
    """Everything that an administrator decides about kernels and may change while the gateway runs."""

    default_kernel_name: str
    default_user: str
    launch_timeout: float
    max_launch_timeout: float
    pending_starts: bool
    """Answer before a kernel is up, though its client didn't ask for that."""
    pending_start_timeout: float
    """Seconds that a start has at least whose client doesn't wait for it."""
    users: UserLists
    limits: KernelLimits
    culling: CullingRules
    environment: EnvironmentRules


class RulesInForce:
    """The rules as they are now; whoever decides by them has the same one of these.

    Parameters
    ----------
    now
        The rules, which may be replaced at any time.
    gateway_environment
        The gateway's own environment, of which kernels get the parts that the rules let through.
    """

    def __init__(self, now: KernelRules, *, gateway_environment: Mapping[str, str]) -> None:
        self.now = now
        self._gateway_environment = gateway_environment

    def launch_request(self, kernel_id: str, user: str, kernelspec: Kernelspec, client: KernelVariables) -> LaunchRequest:
        """Return what a kernel is made from, for a user whose variables are these."""
        rules, spec = self.now.environment, kernelspec.spec
        return compose_request(
            kernel=KernelFacts(kernel_id=kernel_id, kernel_name=kernelspec.name, username=user, language=spec.language),
            client=client,
            kernelspec=kernelspec_environment(spec),
            inherited=inherited_environment(self._gateway_environment, rules, on_this_machine=runs_here(spec)),
            said=rules.said_by_gateway,
            in_pod=runs_in_cluster(spec),
        )


class KernelMetrics(Protocol):
    """Who counts what happens to kernels."""

    def launch_finished(self, kernelspec: str, seconds: float, outcome: str, phases: Mapping[str, float]) -> None:
        """Count a start that is over; `outcome` is `success` or the name of the error's class, `phases` its parts' seconds."""

    def pending_start_ended(self, outcome: str) -> None:
        """Count a start whose client was answered before; `outcome` is `started`, `failed` or `deleted`."""

    def kernel_culled(self, reason: CullReason) -> None:
        """Count a kernel that was shut down because nobody used it."""


class KernelFactory(Protocol):
    """Who makes the objects of a new kernel."""

    def __call__(
        self, *, kernel_id: str, kernelspec: Kernelspec, user: str, request: LaunchRequest | None = None
    ) -> tuple[Kernel, KernelLifecycle]:
        """Return a kernel that hasn't been started; without a request it is one that runs already, and its record tells."""


class Peers(Protocol):
    """Makes kernels known that other processes started."""

    def check_synced(self) -> None:
        """Return where every kernel of other processes is known; raises `ClusterNotSynced` where there may be others."""

    async def synced(self) -> None:
        """Return when every kernel of other processes is known, or none is looked for."""

    async def look_up(self, kernel_id: str) -> None:
        """Make a kernel known that another process has only just started, where there is one of this id."""
