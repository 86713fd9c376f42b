"""What a process that waits for its claim and its supervisor tell each other: that it is ready, and whose kernel it is to be."""

import json
import os
from typing import Callable, Mapping

from kernel_launchers.supervisor.loop import READ, WRITE, Loop

__all__ = ["READY_DESCRIPTOR", "ClaimChannel"]

READY_DESCRIPTOR = 3
"""Where the process writes a byte when it is ready; its claim comes on its standard input."""


class ClaimChannel:
    """Two pipes between the supervisor and one process; nothing here waits for it.

    Parameters
    ----------
    loop
        Tells when one of them can be read or written.
    ready
        Told when the process has done all that it can before its claim.
    """

    def __init__(self, loop: Loop, *, ready: Callable[[], None]) -> None:
        self._loop = loop
        self._ready = ready
        self.claims_out, self._claims_in = os.pipe()
        self._ready_out, self.ready_in = os.pipe()
        """`claims_out` and `ready_in` are for the process."""
        os.set_blocking(self._claims_in, False)
        self._open = {self._claims_in, self._ready_out}
        self._unwritten = b""

    def begin(self) -> None:
        """Leave the process' ends to it, which has them by now."""
        os.close(self.claims_out)
        os.close(self.ready_in)
        self._loop.watch(self._ready_out, READ, self._read)

    def _read(self) -> None:
        # Nothing at the end of the pipe: the process is gone, which its supervisor is told otherwise.
        if os.read(self._ready_out, 1):
            self._ready()
        self._close(self._ready_out)

    def tell(self, environment: Mapping[str, str]) -> None:
        """Tell the process its environment, after which it waits no longer."""
        self._unwritten = json.dumps(dict(environment)).encode()
        self._loop.watch(self._claims_in, WRITE, self._write)

    def _write(self) -> None:
        try:
            self._unwritten = self._unwritten[os.write(self._claims_in, self._unwritten) :]
        except BlockingIOError:
            return
        except OSError:
            self._unwritten = b""  # it is gone
        if not self._unwritten:
            self._close(self._claims_in)

    def close(self) -> None:
        """Tell no more; a process that still waits ends."""
        for descriptor in tuple(self._open):
            self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        self._open.remove(descriptor)
        self._loop.forget(descriptor)
        os.close(descriptor)
