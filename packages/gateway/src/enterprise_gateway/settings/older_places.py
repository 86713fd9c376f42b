"""Where Enterprise Gateway keeps settings that are the gateway's own here."""

__all__ = ["OLDER_PLACES"]

_OWN = "EnterpriseGatewayApp"

OLDER_PLACES = {
    **{
        (section, name): name
        for section in ("RemoteMappingKernelManager", "MappingKernelManager", "AsyncMappingKernelManager")
        for name in (
            "cull_idle_timeout",
            "cull_interval",
            "cull_connected",
            "cull_busy",
            "kernel_info_timeout",
            "allow_tracebacks",
        )
    },
    ("KernelSpecManager", "whitelist"): "allowed_kernels",
    ("KernelSpecManager", "allowed_kernelspecs"): "allowed_kernels",
    ("KernelSpecCache", "cache_enabled"): "kernelspec_cache_enabled",
    (_OWN, "env_whitelist"): "client_envs",
    (_OWN, "env_process_whitelist"): "inherited_envs",
}
"""Section and trait of a configuration file or command line to the name of the setting."""
