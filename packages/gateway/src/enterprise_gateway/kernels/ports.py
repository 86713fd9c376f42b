"""Which port of which kernel a caller may reach through the gateway, and where it is."""

from dataclasses import dataclass

from enterprise_gateway.errors import Forbidden, KernelNotFound, NotSupported, PortUnreachable, Unavailable
from enterprise_gateway.identity import ANONYMOUS, Identity
from enterprise_gateway.kernels.kernel import ExecutionState, Kernel
from enterprise_gateway.kernels.registry import Kernels

__all__ = ["KernelPort", "KernelPorts"]

_RETRY_SECONDS = 2.0
_LONGEST_SHOWN = 16


@dataclass(frozen=True, kw_only=True)
class KernelPort:
    """A port of a kernel's pod that is open to the caller."""

    kernel_id: str
    owner: str
    address: str
    port: int
    secret: bytes
    """Of the kernel; no client of the gateway knows it."""


class KernelPorts:
    """Decides what of kernels' pods can be reached.

    Only what the kernelspec named when the pod was made can, and of kernels with a pod only: a port of this machine may be
    anybody's.

    Parameters
    ----------
    kernels
        Who knows them.
    """

    def __init__(self, *, kernels: Kernels) -> None:
        self._kernels = kernels

    async def reach(self, kernel_id: str, port: str, identity: Identity) -> KernelPort:
        """Return a port that the caller may use.

        Raises
        ------
        KernelNotFound
            There is no kernel of this id that the caller may see.
        Forbidden
            The kernelspec doesn't name the port.
        NotSupported
            The kernel isn't in a pod.
        Unavailable
            The kernel starts, or nobody can tell now.
        PortUnreachable
            The kernel is dead.
        """
        return _reach(await self._kernels.find(kernel_id, identity), port)

    def secret_of(self, kernel_id: str) -> tuple[Kernel, bytes] | None:
        """Return a kernel with its secret, for who has to prove to know something of it; `None` where there is none.

        Raises
        ------
        ClusterNotSynced
            There may be one.
        """
        try:
            # Without a look-up: it costs the cluster something, and nobody knows yet who asks.
            kernel = self._kernels.get(kernel_id, ANONYMOUS)
        except KernelNotFound:
            self._kernels.check_synced()
            return None
        ports = kernel.open_ports
        return None if ports is None or not ports.secret else (kernel, ports.secret)


def _reach(kernel: Kernel, port: str) -> KernelPort:
    ports, kernel_id = kernel.open_ports, kernel.kernel_id
    if ports is None:
        raise NotSupported(
            f"Kernel {kernel_id} runs beside the gateway, where a port may be anybody's: only pods' ports are passed on."
        )
    if kernel.execution_state == ExecutionState.DEAD:
        raise PortUnreachable(f"Kernel {kernel_id} is dead, and its ports with it: {kernel.reason or 'it ended'}")
    if kernel.execution_state in (ExecutionState.STARTING, ExecutionState.RESTARTING) or not ports.address:
        raise Unavailable(f"Kernel {kernel_id} is starting; its ports can be reached when it runs.", retry_after=_RETRY_SECONDS)
    number = next((each for each in ports.ports if str(each) == port), None)
    if number is None:
        shown = port[:_LONGEST_SHOWN].encode("unicode_escape").decode()
        opened = ", ".join(map(str, ports.ports)) or "none"
        raise Forbidden(
            f"Port {shown} of kernel {kernel_id} isn't passed on; open are: {opened}. The kernelspec's config names them in "
            "proxy_ports, for kernels that start from then on."
        )
    return KernelPort(kernel_id=kernel_id, owner=kernel.user, address=ports.address, port=number, secret=ports.secret)
