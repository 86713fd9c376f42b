"""The command of an R kernel (IRkernel)."""

import sys
from pathlib import Path
from typing import List

from kernel_launchers.errors import NotInstalled
from kernel_launchers.options import Options

__all__ = ["command", "waiting_command"]

# What `waiting.wait_for_claim` does, in R's own words.
# In one line, as R's front end is a shell script that takes no other.
_WAIT = (
    'local({loadNamespace("IRkernel"); '
    'ready <- file("/dev/fd/3", "w", raw = TRUE); cat("\\n", file = ready); close(ready); '
    'claims <- file("stdin"); '
    "told <- readLines(claims, warn = FALSE); close(claims); "
    'if (!length(told)) quit(save = "no"); '
    "invisible(do.call(Sys.setenv, jsonlite::fromJSON(told, simplifyVector = FALSE)))})"
)
_SPARK = Path(__file__).parents[1] / "spark" / "session.R"


def command(options: Options, connection_file: str) -> List[str]:
    """Return the command of a kernel.

    Raises
    ------
    NotInstalled
        The image has no R.
    """
    return _command(options, connection_file, before=[])


def waiting_command(options: Options, connection_file: str) -> List[str]:
    """Return the command of a kernel that waits for its claim with R and the kernel's package loaded; raises `NotInstalled`."""
    return _command(options, connection_file, before=["-e", _WAIT])


def _command(options: Options, connection_file: str, *, before: List[str]) -> List[str]:
    import shutil

    program = shutil.which("R")
    if program is None:
        raise NotInstalled("the kernel is one of R, and R isn't installed in its image")
    prepared, arguments = [], [connection_file]
    if options.spark_mode != "none":
        # Behind the first one, which IRkernel takes for its connection file.
        prepared = ["-e", "source(commandArgs(TRUE)[[2]])"]
        arguments = [connection_file, str(_SPARK), options.spark_mode, sys.executable]
    return [program, "--slave", *before, *prepared, "-e", "IRkernel::main()", "--args", *arguments]
