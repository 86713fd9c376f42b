"""What reaches a kernel of the environments of client and gateway."""

from dataclasses import dataclass

from enterprise_gateway_common.environment import boolean, names, ordered_names, setting

__all__ = ["EnvironmentSettings"]

_ENVIRONMENT = "Environment of kernels"


@dataclass(frozen=True, kw_only=True)
class EnvironmentSettings:
    """What reaches a kernel of the environments of client and gateway."""

    client_envs: frozenset[str] = setting(
        frozenset(),
        names,
        environment=("EG_CLIENT_ENVS", "EG_ENV_WHITELIST", "KG_ENV_WHITELIST"),
        group=_ENVIRONMENT,
        help="Names of environment variables that a client may give to its kernel beside KERNEL_*; * for all but the few that "
        "change what a program runs (LD_PRELOAD, PYTHONPATH, PATH and their like).",
    )
    inherited_envs: frozenset[str] = setting(
        frozenset(),
        names,
        environment=("EG_INHERITED_ENVS", "EG_ENV_PROCESS_WHITELIST", "KG_ENV_PROCESS_WHITELIST"),
        group=_ENVIRONMENT,
        help="Names of the gateway's own environment variables that kernels get.",
    )
    kernel_headers: tuple[str, ...] = setting(
        (),
        ordered_names,
        environment=("EG_KERNEL_HEADERS",),
        group=_ENVIRONMENT,
        help="Names of request headers that a provisioner may read at a start.",
    )
    impersonation_enabled: bool = setting(
        False,
        boolean,
        environment=("EG_IMPERSONATION_ENABLED",),
        group=_ENVIRONMENT,
        help="Tell launchers that kernels are to act as their user (EG_IMPERSONATION_ENABLED in the kernel's environment).",
    )
