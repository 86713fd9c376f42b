"""What older deployments set and decides nothing here."""

from dataclasses import dataclass

from enterprise_gateway_common.environment import boolean, choice, optional, ordered_names, setting, text

__all__ = ["ACCEPTED_WITHOUT_EFFECT", "ElsewhereSettings"]

ACCEPTED_WITHOUT_EFFECT = "Accepted without effect"
"""The group of settings that are accepted and have no effect; setting one is logged."""


@dataclass(frozen=True, kw_only=True)
class ElsewhereSettings:
    """What older deployments set and decides nothing here."""

    remote_hosts: tuple[str, ...] = setting(
        ("localhost",),
        ordered_names,
        environment=("EG_REMOTE_HOSTS",),
        group=ACCEPTED_WITHOUT_EFFECT,
        help="Hosts of the distributed platform, which this gateway doesn't start kernels on.",
    )
    load_balancing_algorithm: str = setting(
        "round-robin",
        choice("round-robin", "least-connection"),
        environment=("EG_LOAD_BALANCING_ALGORITHM",),
        group=ACCEPTED_WITHOUT_EFFECT,
        help="Choice of a host on the distributed platform.",
    )
    yarn_endpoint: str | None = setting(
        None,
        optional(text),
        environment=("EG_YARN_ENDPOINT",),
        group=ACCEPTED_WITHOUT_EFFECT,
        help="Address of Hadoop YARN's resource manager.",
    )
    alt_yarn_endpoint: str | None = setting(
        None,
        optional(text),
        environment=("EG_ALT_YARN_ENDPOINT",),
        group=ACCEPTED_WITHOUT_EFFECT,
        help="Second address of Hadoop YARN's resource manager.",
    )
    yarn_endpoint_security_enabled: bool = setting(
        False,
        boolean,
        environment=("EG_YARN_ENDPOINT_SECURITY_ENABLED",),
        group=ACCEPTED_WITHOUT_EFFECT,
        help="Whether Hadoop YARN wants Kerberos.",
    )
    conductor_endpoint: str | None = setting(
        None,
        optional(text),
        environment=("EG_CONDUCTOR_ENDPOINT",),
        group=ACCEPTED_WITHOUT_EFFECT,
        help="Address of IBM Spectrum Conductor.",
    )
    kernelspec_cache_enabled: bool = setting(
        True,
        boolean,
        environment=("EG_KERNELSPEC_CACHE_ENABLED",),
        group=ACCEPTED_WITHOUT_EFFECT,
        help="Kernelspecs are always cached and a change is always seen; see kernelspec_max_age.",
    )
    kernel_spec_cache_class: str = setting(
        "",
        text,
        environment=(),
        group=ACCEPTED_WITHOUT_EFFECT,
        help="The cache's class can't be replaced.",
    )
    kernel_spec_manager_class: str = setting(
        "",
        text,
        environment=(),
        group=ACCEPTED_WITHOUT_EFFECT,
        help="The class that finds kernelspecs can't be replaced.",
    )
    kernel_manager_class: str = setting(
        "",
        text,
        environment=(),
        group=ACCEPTED_WITHOUT_EFFECT,
        help="The class that manages kernels can't be replaced; provisioners are how it is extended.",
    )
    kernel_session_manager_class: str = setting(
        "",
        text,
        environment=(),
        group=ACCEPTED_WITHOUT_EFFECT,
        help="Kernels in pods are found again without a session store.",
    )
    availability_mode: str | None = setting(
        None,
        optional(choice("standalone", "replication")),
        environment=("EG_AVAILABILITY_MODE",),
        group=ACCEPTED_WITHOUT_EFFECT,
        help="Kernels in pods outlive the gateway and are served by every replica without it.",
    )
