"""Kernels as processes of this machine: jupyter_client's local provisioner, and four things that it lacks.

It tells at once that the process ended and why; it keeps the last lines that the process wrote, which say why a start
failed; it leaves nothing of the kernel's process group behind; and its ports are nobody else's.
"""

import asyncio
import logging
import os
import re
import signal
from contextlib import suppress
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from enterprise_gateway.provisioners.exits import exit_words
from enterprise_gateway.provisioners.local_pool import LocalPool
from enterprise_gateway.provisioners.local_ports import LocalPorts
from enterprise_gateway.provisioners.output_tail import OutputTail

__all__ = ["GatewayLocalProvisioner"]

_log = logging.getLogger(__name__)

_ABSOLUTE_PATH = re.compile(r"(?:/[^\s/:'\"]+)+/([^\s/:'\"]+)")
_PORTS = ("shell_port", "iopub_port", "stdin_port", "hb_port", "control_port")


class GatewayLocalProvisioner(LocalProvisioner):
    """Runs a kernel as a process of this machine, in a process group of its own.

    Parameters
    ----------
    ports
        Where the kernel's ports come from.
    pool
        Processes that wait for a start; without it none does.
    """

    def __init__(self, *, ports: LocalPorts, pool: LocalPool | None = None, **kwargs: Any) -> None:  # noqa: ANN401  traits of the base class
        super().__init__(**kwargs)
        # The base class has one mutable dictionary for all its instances.
        self.connection_info = {}
        self._local_ports = ports
        self._pool = pool or LocalPool()
        self._taken_ports: list[int] = []
        self._output: OutputTail | None = None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401  the base class' signature
        """Return the arguments of the launch; a restart keeps the ports of the first start."""
        manager = self.parent
        if manager is not None and not self._taken_ports:
            self._taken_ports = self._local_ports.take(len(_PORTS))
            manager.cache_ports = False
            for name, port in zip(_PORTS, self._taken_ports, strict=True):
                setattr(manager, name, port)
        prepared: dict[str, Any] = await super().pre_launch(**kwargs)
        return prepared

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:  # noqa: ANN401  the base class' signature
        """Start the process; what it writes goes to the log."""
        # For provisioners of other platforms; a process has no use for them.
        kwargs.pop("kernel_headers", None)
        self._close_output()
        waiting = self._pool.claim(cmd, environment=kwargs.get("env") or {}, folder=kwargs.get("cwd"))
        if waiting is not None:
            self._output, self.process = waiting.output, waiting.process
            self._output.kernel_id = self.kernel_id
            self.pid = self.pgid = waiting.process.pid
            return self.connection_info
        self._output = OutputTail()
        self._output.kernel_id = self.kernel_id
        try:
            info: KernelConnectionInfo = await super().launch_kernel(
                cmd, stdout=self._output.write_end, stderr=self._output.write_end, **kwargs
            )
        finally:
            self._output.close_write_end()
        return info

    async def wait_for_exit(self) -> str:
        """Return why the process ended, in words for its user, as soon as it has."""
        process = self.process
        if process is None:
            return "The kernel's process has ended."
        await _process_end(process.pid)
        words = exit_words(process.poll() or 0)
        lines = self._output.last_lines() if self._output else []
        _log.info("Kernel's process ended", extra={"kernel_id": self.kernel_id, "cause": words, "last_lines": lines})
        return f"{words} It last wrote: {_without_folders(lines[-1])}" if lines else words

    async def cleanup(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002  the base class' signature
        """End what the kernel started and left behind, and give up its ports unless it starts again."""
        if self.pgid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pgid, signal.SIGKILL)
            self.pgid = None
        self._close_output()
        if not restart:
            self._local_ports.give_back(self._taken_ports)
            self._taken_ports = []
        await super().cleanup(restart=restart)

    def _close_output(self) -> None:
        if self._output is not None:
            self._output.close()
            self._output = None


def _without_folders(line: str) -> str:
    """Return a line for a client, who isn't told where things lie on this machine."""
    return _ABSOLUTE_PATH.sub(r"\1", line)


async def _process_end(pid: int) -> None:
    """Return when a child process has ended; it is not reaped."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended: asyncio.Future[None] = loop.create_future()

    def mark() -> None:
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(descriptor, mark)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
