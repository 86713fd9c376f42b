"""Which kernels can be started."""

from dataclasses import dataclass

from enterprise_gateway_common.environment import names, number, setting, text

__all__ = ["KernelspecSettings"]

_KERNELSPECS = "Kernelspecs"


@dataclass(frozen=True, kw_only=True)
class KernelspecSettings:
    """Which kernels can be started."""

    default_kernel_name: str = setting(
        "",
        text,
        environment=("EG_DEFAULT_KERNEL_NAME", "KG_DEFAULT_KERNEL_NAME"),
        group=_KERNELSPECS,
        help="Kernelspec to start where a request names none; python3 when empty.",
    )
    allowed_kernels: frozenset[str] = setting(
        frozenset(),
        names,
        environment=("EG_ALLOWED_KERNELS", "EG_KERNEL_WHITELIST"),
        group=_KERNELSPECS,
        help="Names of the kernelspecs to offer; all of them when empty.",
    )
    kernelspec_max_age: float = setting(
        1.0,
        number(0, 3600),
        environment=("EG_KERNELSPEC_MAX_AGE",),
        group=_KERNELSPECS,
        help="For how many seconds what was read of the kernelspec folders is used before they are looked at again.",
    )
