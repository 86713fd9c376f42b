"""Keeps the kernel out of its supervisor's memory: both run as the same user."""

import ctypes

__all__ = ["protect_this_process"]

_PR_SET_DUMPABLE = 4


def protect_this_process() -> bool:
    """Have no process of the same user trace this one or read its memory, and tell whether none can.

    Children that are started get what the system gives every program.
    """
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        # Another system than Linux, or a C library without it.
        return False
    prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
    return bool(prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)
