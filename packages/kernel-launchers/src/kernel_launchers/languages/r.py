"""The command of an R kernel (IRkernel)."""

from typing import List

from kernel_launchers.errors import NotInstalled
from kernel_launchers.options import Options

__all__ = ["command"]


def command(_options: Options, connection_file: str) -> List[str]:
    """Return the command of a kernel.

    Raises
    ------
    NotInstalled
        The image has no R.
    """
    import shutil

    program = shutil.which("R")
    if program is None:
        raise NotInstalled("the kernel is one of R, and R isn't installed in its image")
    return [program, "--slave", "-e", "IRkernel::main()", "--args", connection_file]
