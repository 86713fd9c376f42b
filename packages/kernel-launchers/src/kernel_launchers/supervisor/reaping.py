"""Children that have ended: the kernel, and what its processes left behind."""

import os
from typing import Callable

__all__ = ["adopt_orphans", "reap_others"]

_PR_SET_CHILD_SUBREAPER = 36
_FIRST_PROCESS = 1


def adopt_orphans() -> bool:
    """Have processes whose parent has ended become children of this one, and tell whether they do.

    Process 1 of a container gets them anyway. Elsewhere Linux has to be asked, and only C can: without it the system's own
    first process reaps them.
    """
    if os.getpid() == _FIRST_PROCESS:
        return True
    try:
        # Here only: it takes longer to import than the rest of the supervisor, and few need it.
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return False
    prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
    return bool(prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def reap_others(kernel: int, kernel_ended: Callable[[], None]) -> None:
    """Reap every child that has ended; the kernel is left to a callback, which must reap it."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            return
        if ended.si_pid == kernel:
            kernel_ended()
        else:
            os.waitpid(ended.si_pid, 0)
