"""The command of an IPython kernel."""

import sys
from typing import List

from kernel_launchers.options import Options

__all__ = ["WAITS", "command", "waiting_command"]

WAITS = "waits"
"""Last argument of a kernel that waits for its claim."""

# Not `-m`: it would import from the working directory, where a user's random.py may lie.
_PROGRAM = (
    "import sys; sys.path[:1] == [''] and sys.path.pop(0); from kernel_launchers.ipython_kernel import main; sys.exit(main())"
)


def command(options: Options, connection_file: str) -> List[str]:
    """Return the command of a kernel in this interpreter."""
    return [sys.executable, "-c", _PROGRAM, connection_file, options.kernel_class, options.spark_mode]


def waiting_command(options: Options, connection_file: str) -> List[str]:
    """Return the command of a kernel in this interpreter that waits for its claim, with everything loaded that it will need."""
    return [*command(options, connection_file), WAITS]
