"""Starts an R kernel as a child process."""

import shutil

from kernel_launchers.errors import NotInstalled
from kernel_launchers.options import Options
from kernel_launchers.signals import run_child

__all__ = ["start"]


def start(_options: Options, connection_file: str) -> int:
    """Return the exit status of the kernel."""
    program = shutil.which("R")
    if program is None:
        raise NotInstalled("the kernel is one of R, and R isn't installed in its image")
    return run_child([program, "--slave", "-e", "IRkernel::main()", "--args", connection_file])
