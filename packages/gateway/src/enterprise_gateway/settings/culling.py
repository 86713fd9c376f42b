"""When a kernel that nobody uses is ended."""

from dataclasses import dataclass

from enterprise_gateway_common.environment import boolean, integer, setting

__all__ = ["CullingSettings"]

_CULLING = "Culling"


@dataclass(frozen=True, kw_only=True)
class CullingSettings:
    """When a kernel that nobody uses is ended."""

    cull_idle_timeout: int = setting(
        0,
        integer(0),
        environment=("EG_CULL_IDLE_TIMEOUT",),
        group=_CULLING,
        help="Seconds without activity after which a kernel is shut down; 0 never. A kernelspec's "
        "metadata.cull_idle_timeout takes its place.",
    )
    cull_interval: int = setting(
        300,
        integer(1),
        environment=("EG_CULL_INTERVAL",),
        group=_CULLING,
        help="Seconds between two looks for kernels to cull.",
    )
    cull_connected: bool = setting(
        False,
        boolean,
        environment=("EG_CULL_CONNECTED",),
        group=_CULLING,
        help="Cull idle kernels although clients are connected to them.",
    )
    cull_busy: bool = setting(
        False,
        boolean,
        environment=("EG_CULL_BUSY",),
        group=_CULLING,
        help="Cull kernels without activity although they are busy.",
    )
