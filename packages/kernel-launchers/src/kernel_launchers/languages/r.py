"""The command of an R kernel (IRkernel)."""

from pathlib import Path
from typing import List

from kernel_launchers.errors import NotInstalled
from kernel_launchers.options import Options

__all__ = ["command"]

_SPARK = Path(__file__).parents[1] / "spark" / "session.R"


def command(options: Options, connection_file: str) -> List[str]:
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
    prepared, arguments = [], [connection_file]
    if options.spark_mode != "none":
        # Behind the first one, which IRkernel takes for its connection file.
        prepared, arguments = ["-e", "source(commandArgs(TRUE)[[2]])"], [connection_file, str(_SPARK), options.spark_mode]
    return [program, "--slave", *prepared, "-e", "IRkernel::main()", "--args", *arguments]
