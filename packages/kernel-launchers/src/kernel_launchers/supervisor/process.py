"""The kernel's process and its group."""

import os
import signal
from contextlib import suppress
from typing import List, Mapping, Optional, Sequence

from kernel_launchers.errors import NotInstalled

__all__ = ["KernelProcess", "exit_status"]

_SIGNAL_STATUS = 128
# Python ignores the first two, and a supervisor may have been started with others ignored, as a shell does in the background.
_DEFAULTS = (
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGCHLD,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


class KernelProcess:
    """A kernel that leads a session and a process group of its own.

    So a signal to the group reaches the kernel and its children and nobody else, and a kernel that interrupts its own group
    (as ipykernel does where it leads one) interrupts itself too: no signal without a handler reaches process 1.
    """

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], descriptors: Mapping[int, int]) -> None:
        """Start it.

        Parameters
        ----------
        descriptors
            By the number that each has for the kernel, what it is here.

        Raises
        ------
        NotInstalled
            Its program can't be run.
        """
        # Kernels that know jupyter_client's variable end with a parent that was killed, where no container does that for them.
        variables = {**environment, "JPY_PARENT_PID": str(os.getpid())}
        arguments: List[str] = list(command)
        try:
            # Not subprocess: its import alone takes longer than this.
            self.pid = os.posix_spawnp(
                arguments[0],
                arguments,
                variables,
                file_actions=[(os.POSIX_SPAWN_DUP2, here, there) for there, here in descriptors.items()],
                setsid=True,
                setsigmask=(),
                setsigdef=_DEFAULTS,
            )
        except OSError as error:
            raise NotInstalled(f"the kernel's program {arguments[0]} can't be run in this image: {error.strerror}") from error
        self.status: Optional[int] = None
        """As `waitpid` gives it; `None` while it runs."""

    def signal(self, number: int) -> None:
        """Send a signal to the kernel alone, if it still runs."""
        if self.status is None:
            os.kill(self.pid, number)

    def signal_group(self, number: int) -> None:
        """Send a signal to the kernel and its children, if it still runs."""
        if self.status is None:
            with suppress(ProcessLookupError):  # it has ended, and will be reaped next
                os.killpg(self.pid, number)

    def reap(self) -> None:
        """Send SIGKILL to what the kernel left in its group, and keep its status; only for a kernel that has ended.

        In this order: the number of a process that is reaped may become another's.
        """
        self.signal_group(signal.SIGKILL)
        self.status = os.waitpid(self.pid, 0)[1]

    def group_is_gone(self) -> bool:
        """Tell whether no process of the group is a child of this one any more, dead or alive.

        SIGKILL is an order and not the end: until then a process holds its memory, its files and its ports.
        """
        try:
            os.waitid(os.P_PGID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return False


def exit_status(status: int) -> int:
    """Return what a shell makes of a status of `waitpid`: of a process that a signal ended, 128 and the signal's number."""
    return _SIGNAL_STATUS + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
