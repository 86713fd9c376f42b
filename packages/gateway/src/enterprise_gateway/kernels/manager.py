"""jupyter_client's manager of one kernel, with the kernelspec and the provisioner that this gateway chose."""

from collections.abc import Callable
from typing import Any

from jupyter_client.connect import KernelConnectionInfo, port_names
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from enterprise_gateway.deadline import Deadline
from enterprise_gateway.launch.request import LaunchRequest

__all__ = ["GatewayKernelManager"]


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
