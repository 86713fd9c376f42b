"""jupyter_client's manager of one kernel, with the kernelspec and the provisioner that this gateway chose."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from jupyter_client.connect import KernelConnectionInfo, port_names
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager, _ShutdownStatus

from enterprise_gateway.deadline import Deadline
from enterprise_gateway.launch.request import LaunchRequest
from enterprise_gateway.provisioners.connection_strategy import LogBounds
from enterprise_gateway.provisioners.progress import LaunchProgress, NobodyWaits

__all__ = ["GatewayKernelManager", "KernelControl"]


class KernelControl(Protocol):
    """Stands between this process and the kernel."""

    @property
    def supervised(self) -> bool:
        """Whether it does."""

    async def interrupt(self) -> None:
        """Interrupt the kernel and everything it runs."""

    def begin_interrupt(self) -> None:
        """Do the same without waiting for it."""

    def control(self, kind: str, content: Mapping[str, Any]) -> None:
        """Send the kernel a request on its control channel."""


class GatewayKernelManager(AsyncKernelManager):
    """Manages one kernel through its provisioner.

    Parameters
    ----------
    gateway_spec
        The kernelspec as it was looked up.
    runs_here
        Whether the kernel reads its connection file on this machine. For others no key comes onto the disk.

    Three things differ from the base class. The kernelspec is the one that was looked up when the start was accepted, so
    that a change on the disk can't separate what was checked from what is run. And `restarting` is true for the whole
    of a restart: the base class tells a provisioner's `kill` and `terminate` that the kernel ends for good although it
    is about to be started again, which is when a provisioner must keep what the next start needs. And the socket by
    which a kernel is asked to end or to stop is made when it is asked, so that a kernel at rest keeps no connection for it.
    """

    restarting = False
    launch_request: LaunchRequest | None = None
    """What the kernel's starts are made from, for provisioners that want more than its environment."""
    launch_deadline: Deadline | None = None
    """By when the start that is under way must be over, for provisioners that keep it themselves."""
    launch_progress: LaunchProgress = NobodyWaits()
    """Told how far the first start is, while that is under way."""
    supervisor_log: LogBounds | None = None
    """How much a supervisor beside the kernel keeps of what it says; without it kernels are spoken with themselves."""
    control: KernelControl | None = None
    """By what a kernel is interrupted and asked to end whose own sockets can't be reached."""

    def __init__(
        self,
        *,
        gateway_spec: KernelSpec,
        runs_here: bool = True,
        **kwargs: Any,  # noqa: ANN401  traits of the base class
    ) -> None:
        self._gateway_spec = gateway_spec
        self._runs_here = runs_here
        # Whoever supervises the kernel restarts it; two who do would each start one.
        super().__init__(autorestart=False, **kwargs)

    @property
    def kernel_spec(self) -> KernelSpec:
        """The kernelspec as it was when the start was accepted."""
        return self._gateway_spec

    @property
    def can_start(self) -> bool:
        """Whether it is known here what a start is given; of one that another process began and didn't finish it isn't."""
        return bool(self._launch_args)

    def adopt(self, info: KernelConnectionInfo, arguments: dict[str, Any]) -> None:
        """Take over a kernel that runs already: how it is reached now, and what a restart starts it with."""
        self._close_control_socket()
        # The base class takes a port only where it has none yet, and keys only where there are some.
        for name in port_names:
            setattr(self, name, 0)
        self.curve_publickey = self.curve_secretkey = None
        self.load_connection_info(info)
        self._attempted_start = True
        self._launch_args = arguments

    def detach(self) -> None:
        """Let go of a kernel that lives on: nothing of it stays in this process or on this machine."""
        self._close_control_socket()
        self.cleanup_connection_file()

    def write_connection_file(self, **kwargs: Any) -> None:  # noqa: ANN401  the base class' signature
        """Write the connection file where it is read."""
        if self._runs_here:
            super().write_connection_file(**kwargs)

    async def _async_post_start_kernel(self, **kwargs: Any) -> None:  # noqa: ANN401  the base class' signature
        if self.provisioner is None:
            raise AssertionError("a kernel that was started has a provisioner")
        await self.provisioner.post_launch(**kwargs)

    post_start_kernel = _async_post_start_kernel

    async def _async_interrupt_kernel(self) -> None:
        """Interrupt the kernel the way its kernelspec says."""
        if self.control is None or not self.control.supervised or not self.has_kernel:
            await super()._async_interrupt_kernel()
        elif self.kernel_spec.interrupt_mode == "message":
            self.control.control("interrupt_request", {})
        elif self.shutting_down:
            # It ends whether or not anybody is there to interrupt it.
            self.control.begin_interrupt()
        else:
            await self.control.interrupt()

    interrupt_kernel = _async_interrupt_kernel

    async def _async_request_shutdown(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002  the base class' signature
        if self.control is None or not self.control.supervised:
            await super()._async_request_shutdown(restart=restart)
            return
        self.control.control("shutdown_request", {"restart": restart})
        if self.provisioner is not None:
            await self.provisioner.shutdown_requested(restart=restart)
        self._shutdown_status = _ShutdownStatus.ShutdownRequest

    request_shutdown = _async_request_shutdown

    async def restart(self, *, now: bool, ended: Callable[[], None]) -> None:
        """End the kernel, at once or after asking it, and start it with the arguments of its first start.

        Parameters
        ----------
        ended
            Called between the two: what a start is given begins then.
        """
        self.restarting = True
        try:
            await self.shutdown_kernel(now=now, restart=True)
            ended()
            await self.start_kernel(**(self._launch_args or {}))
        finally:
            self.restarting = False
