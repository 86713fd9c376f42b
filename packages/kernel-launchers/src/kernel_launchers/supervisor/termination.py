"""Says why a kernel ended where Kubernetes looks for it: the pod's termination message, and the log."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Optional

from enterprise_gateway_common.termination import OUT_OF_MEMORY, termination_message
from kernel_launchers.supervisor.memory import ContainerMemory
from kernel_launchers.supervisor.output import write_soon

__all__ = ["MemoryWitness", "cause_of_end", "log_end", "report", "report_end"]

_STDERR = 2
_FILE = Path("/dev/termination-log")
_LONGEST = 4096  # what Kubernetes keeps of a message, in bytes
_MEBIBYTE = 1 << 20
_GIBIBYTE = 1 << 30


class MemoryWitness:
    """Knows whether processes were killed for memory since it was made."""

    def __init__(self, memory: ContainerMemory) -> None:
        self._memory = memory
        self._before = memory.kills()

    @property
    def kills(self) -> Optional[int]:
        """How many were; `None` where the system doesn't tell."""
        now = self._memory.kills()
        return None if now is None or self._before is None else now - self._before

    def excess(self) -> str:
        """Return what was too much, with the most that the container used."""
        limit, peak = self._memory.limit(), self._memory.peak()
        most = "" if peak is None else f" Its container used {_amount(peak)} at most."
        if limit is None:
            return f"its node or pod had no more.{most}"
        return f"it used more than its limit ({_amount(limit)}).{most}"


def cause_of_end(status: int, memory: MemoryWitness) -> Optional[str]:
    """Return why a kernel ended; `None` where it ended well.

    Parameters
    ----------
    status
        As `waitpid` gives it.
    """
    kills = memory.kills
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            return f"The kernel was ended by {_name(number)}."
        if kills:
            return f"The kernel was ended because it {OUT_OF_MEMORY}, {memory.excess()}"
        # Where the system tells who was killed for memory, this kernel wasn't.
        return f"The kernel was ended by SIGKILL.{'' if kills == 0 else ' The system may have run out of memory.'}"
    number = os.WEXITSTATUS(status)
    if number == 0:
        return None
    # Whether that is why it failed only its last words can tell: a pool whose worker is gone, for instance.
    hint = f" Before, {kills} of its processes had been killed for memory: {memory.excess()}" if kills else ""
    return f"The kernel exited with status {number}.{hint}"


def report_end(cause: str, last_words: str, *, file: Path = _FILE) -> None:
    """Write why a kernel ended to the log, where its last words stand already, and both to the termination message."""
    log_end(cause)
    _write(file, termination_message(cause, last_words, longest=_LONGEST))


def log_end(cause: str) -> None:
    """Write why a kernel ended to the log alone: it is started again."""
    _log(f"launch-kernel: {cause}")


def report(message: str, *, file: Path = _FILE) -> None:
    """Write a message to the log, and its end to the termination message where the container has one."""
    _log(message)
    _write(file, message.encode("utf-8", "replace")[-_LONGEST:])


def _log(message: str) -> None:
    # Not sys.stderr: what couldn't be written would be tried again at this process' end, and change its status.
    with suppress(OSError):  # nobody reads the log any more
        # A log that takes nothing more must not keep a kernel's pod from ending.
        write_soon(_STDERR, message.rstrip().encode("utf-8", "replace") + b"\n")


def _write(file: Path, message: bytes) -> None:
    try:
        if file.exists():
            file.write_bytes(message)
    except OSError:
        # An image may be run by something else than Kubernetes; the log has the message.
        return


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _amount(size: int) -> str:
    """Return a size as Kubernetes writes it."""
    return f"{size // _GIBIBYTE}Gi" if size and size % _GIBIBYTE == 0 else f"{size / _MEBIBYTE:.0f}Mi"
