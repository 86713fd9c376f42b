"""What a client asks for when it wants a kernel, as its request says it, and whose the kernel is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from enterprise_gateway.errors import Forbidden
from enterprise_gateway.identity import Identity
from enterprise_gateway.kernels.rules import RulesInForce
from enterprise_gateway.kernelspecs.catalogue import Kernelspec
from enterprise_gateway.launch.environment import inherited_environment
from enterprise_gateway.launch.request import KernelFacts, LaunchRequest, compose_request
from enterprise_gateway.launch.variables import KernelVariables
from enterprise_gateway.provisioners.registry import kernelspec_environment, runs_here, runs_in_cluster

__all__ = ["StartRequest", "launch_request", "owner_of"]


@dataclass(frozen=True, kw_only=True)
class StartRequest:
    """One request for a kernel, unread."""

    kernel_name: str | None
    """Name of a kernelspec; `None` for the default one."""
    env: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those request headers that the administrator lets through to provisioners."""


def owner_of(claimed: str | None, identity: Identity, *, default: str) -> str:
    """Return the user that a kernel belongs to.

    Parameters
    ----------
    claimed
        Who KERNEL_USERNAME names.
    default
        Who owns kernels that nobody is named for.

    Raises
    ------
    Forbidden
        The token belongs to one user, KERNEL_USERNAME names another.
    """
    if identity.user is None:
        return claimed or default
    if claimed not in (None, identity.user):
        raise Forbidden("KERNEL_USERNAME names another user than the one that the token belongs to.")
    return identity.user


def launch_request(
    kernel_id: str, user: str, kernelspec: Kernelspec, client: KernelVariables, rules: RulesInForce
) -> LaunchRequest:
    """Return the start of a kernel as its client and its kernelspec describe it together; see `compose_request`."""
    environment, spec = rules.now.environment, kernelspec.spec
    return compose_request(
        kernel=KernelFacts(kernel_id=kernel_id, kernel_name=kernelspec.name, username=user, language=spec.language),
        client=client,
        kernelspec=kernelspec_environment(spec),
        inherited=inherited_environment(rules.gateway_environment, environment, on_this_machine=runs_here(spec)),
        said=environment.said_by_gateway,
        in_pod=runs_in_cluster(spec),
    )
