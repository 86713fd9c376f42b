"""The pod's log, which a kernel that takes its standard streams for the output of cells still has to reach."""

import os

__all__ = ["descriptor", "keep"]

_kept = [2]


def keep() -> None:
    """Remember where standard error goes now."""
    _kept[0] = os.dup(2)


def descriptor() -> int:
    """Return the descriptor of what was remembered; until then that of standard error."""
    return _kept[0]
