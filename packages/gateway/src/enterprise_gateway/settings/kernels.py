"""How kernels start, restart and end."""

from dataclasses import dataclass

from enterprise_gateway_common.environment import boolean, choice, integer, number, setting, text

__all__ = ["KernelSettings"]

_KERNELS = "Kernels"


@dataclass(frozen=True, kw_only=True)
class KernelSettings:
    """How kernels start, restart and end."""

    kernel_launch_timeout: float = setting(
        30.0,
        number(1, 86400),
        environment=("EG_KERNEL_LAUNCH_TIMEOUT",),
        group=_KERNELS,
        help="Seconds within which a kernel must be usable; a request may ask for another number by KERNEL_LAUNCH_TIMEOUT.",
    )
    max_kernel_launch_timeout: float = setting(
        900.0,
        number(1, 86400),
        environment=("EG_MAX_KERNEL_LAUNCH_TIMEOUT",),
        group=_KERNELS,
        help="The most seconds that KERNEL_LAUNCH_TIMEOUT may ask for; a larger number is lowered to it.",
    )
    pending_starts: bool = setting(
        False,
        boolean,
        environment=("EG_PENDING_STARTS",),
        group=_KERNELS,
        help="Answer a request for a kernel as soon as nothing of its start can be refused any more, with "
        "`execution_state: starting`. Without it only clients are answered early that send `Prefer: respond-async`.",
    )
    pending_start_timeout: float = setting(
        600.0,
        number(1, 86400),
        environment=("EG_PENDING_START_TIMEOUT",),
        group=_KERNELS,
        help="Seconds that a start has at least whose client is answered early, whatever KERNEL_LAUNCH_TIMEOUT says: clients "
        "derive that from how long they wait for an answer. max_kernel_launch_timeout bounds it.",
    )
    kernel_info_timeout: float = setting(
        60.0,
        number(0.1, 3600),
        environment=("EG_KERNEL_INFO_TIMEOUT",),
        group=_KERNELS,
        help="Seconds that a websocket waits for the kernel's supervisor to tell where its session stands. A restarted kernel is "
        "given as many to answer, or as many as its start was given where that is more.",
    )
    drain_timeout: float = setting(
        20.0,
        number(0, 86400),
        environment=("EG_DRAIN_TIMEOUT",),
        group=_KERNELS,
        help="Seconds for which a terminating gateway keeps clients of kernels in pods that run a cell, or whose output a slow "
        "client is yet to get, so that they get all of it; then they are sent to another gateway, and may miss what is printed "
        "on the way.",
    )
    shutdown_wait_time: float = setting(
        5.0,
        number(0, 600),
        environment=("EG_SHUTDOWN_WAIT_TIME",),
        group=_KERNELS,
        help="Seconds that a kernel is given to end by itself; half of them before it is told to terminate, then it is killed.",
    )
    restart_limit: int = setting(
        5,
        integer(0, 1000),
        environment=("EG_RESTART_LIMIT",),
        group=_KERNELS,
        help="How many times in a row a kernel that died is started again before it is given up; 0 never starts it again.",
    )
    stable_start_time: float = setting(
        10.0,
        number(0, 3600),
        environment=("EG_STABLE_START_TIME",),
        group=_KERNELS,
        help="Seconds after which a restarted kernel counts as stable, so that the next death is the first in a row again.",
    )
    transport_encryption: str = setting(
        "auto",
        choice("disabled", "auto", "required"),
        environment=("EG_TRANSPORT_ENCRYPTION",),
        group=_KERNELS,
        help="CURVE encryption between gateway and kernel: auto uses it where the kernelspec says that the kernel can, "
        "required refuses kernels that can't.",
    )
    zmq_io_threads: int = setting(
        1,
        integer(1, 64),
        environment=("EG_ZMQ_IO_THREADS",),
        group=_KERNELS,
        help="Threads that move messages between kernels and this process.",
    )
    zmq_max_sockets: int = setting(
        16384,
        integer(64, 65535),
        environment=("EG_ZMQ_MAX_SOCKETS",),
        group=_KERNELS,
        help="The most ZeroMQ sockets. A kernel needs up to four, however many websockets it has.",
    )
    port_range: str = setting(
        "0..0",
        text,
        environment=("EG_PORT_RANGE",),
        group=_KERNELS,
        help="Ports that kernels of this machine use, as lowest..highest with at least a thousand between them; 0..0 for any.",
    )
    list_kernels: bool = setting(
        False,
        boolean,
        environment=("EG_LIST_KERNELS", "KG_LIST_KERNELS"),
        group=_KERNELS,
        help="Allow GET /api/kernels and GET /api/sessions, which JupyterLab needs. Without it they answer 403.",
    )
