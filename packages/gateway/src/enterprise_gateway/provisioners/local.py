"""Kernels as processes of this machine: jupyter_client's local provisioner, and four things that it lacks.

It tells at once that the process ended and why; it keeps the last lines that the process wrote, which say why a start
failed; it leaves nothing of the kernel's process group behind; and its ports are nobody else's.
"""

import asyncio
import logging
import os
import re
import signal
from collections import deque
from contextlib import suppress
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from enterprise_gateway.provisioners.exits import exit_words
from enterprise_gateway.provisioners.local_ports import LocalPorts

__all__ = ["GatewayLocalProvisioner"]

_log = logging.getLogger(__name__)

_ABSOLUTE_PATH = re.compile(r"(?:/[^\s/:'\"]+)+/([^\s/:'\"]+)")
_KEPT_LINES = 10
_KEPT_LINE_BYTES = 500
_READ_BYTES = 65536
_PORTS = ("shell_port", "iopub_port", "stdin_port", "hb_port", "control_port")


class _OutputTail:
    """Reads what a process writes, hands each line to the log and keeps the last few."""

    def __init__(self, *, kernel_id: str) -> None:
        self._kernel_id = kernel_id
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._rest = b""
        self._read_end, self.write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # Only the reading end must not block; a kernel that writes faster than we read has to wait as on any pipe.
        os.set_blocking(self.write_end, True)
        asyncio.get_running_loop().add_reader(self._read_end, self._readable)

    def close_write_end(self) -> None:
        os.close(self.write_end)

    def close(self) -> None:
        if self._read_end >= 0:
            asyncio.get_running_loop().remove_reader(self._read_end)
            os.close(self._read_end)
            self._read_end = -1

    def last_lines(self) -> list[str]:
        """Return the last lines that were written, those included that nobody has read yet."""
        if self._read_end >= 0:
            self._readable()
        return [*self._lines, *filter(None, [self._shown(self._rest)])]

    def _readable(self) -> None:
        try:
            data = os.read(self._read_end, _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self.close()
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_KEPT_LINE_BYTES:]
        for line in lines:
            if shown := self._shown(line):
                self._lines.append(shown)
                _log.debug("Kernel wrote", extra={"kernel_id": self._kernel_id, "line": shown})

    @staticmethod
    def _shown(line: bytes) -> str:
        return line[-_KEPT_LINE_BYTES:].decode(errors="replace").strip()


class GatewayLocalProvisioner(LocalProvisioner):
    """Runs a kernel as a process of this machine, in a process group of its own.

    Parameters
    ----------
    ports
        Where the kernel's ports come from.
    """

    def __init__(self, *, ports: LocalPorts, **kwargs: Any) -> None:  # noqa: ANN401  traits of the base class
        super().__init__(**kwargs)
        # The base class has one mutable dictionary for all its instances.
        self.connection_info = {}
        self._local_ports = ports
        self._taken_ports: list[int] = []
        self._output: _OutputTail | None = None

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
        self._output = _OutputTail(kernel_id=self.kernel_id)
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
