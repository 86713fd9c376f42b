"""`launch-kernel`: starts the kernel of a pod and ends with its exit status."""

import os
import sys
import tempfile
import traceback
from contextlib import ExitStack
from typing import Callable, Dict, Mapping, Optional, Sequence

from kernel_launchers import spark
from kernel_launchers.connection import check_file, own_connection
from kernel_launchers.errors import LaunchRefused
from kernel_launchers.languages import python, r, scala
from kernel_launchers.options import Options, read_options
from kernel_launchers.termination import report

__all__ = ["main"]

_CRASHED = 1

Start = Callable[[Options, str], int]
_STARTS: Dict[str, Start] = {"python": python.start, "r": r.start, "scala": scala.start}


def main(arguments: Optional[Sequence[str]] = None, environment: Optional[Mapping[str, str]] = None) -> int:
    """Return the exit status of the kernel, or of what kept it from starting, which is then told."""
    try:
        options = read_options(
            sys.argv[1:] if arguments is None else arguments, os.environ if environment is None else environment
        )
        return _run(options)
    except LaunchRefused as refusal:
        report(f"launch-kernel: {refusal}")
        return refusal.status
    except Exception:
        report(traceback.format_exc())
        return _CRASHED


def _run(options: Options) -> int:
    spark.check(options)
    with ExitStack() as stack:
        if options.connection_file is not None:
            check_file(options.connection_file)
            return _STARTS[options.language](options, options.connection_file)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kernel-"))
        # Only here: a kernel that reads a mounted file needs none of it, nor the library that it needs.
        from kernel_launchers.phone_home import CommandListener, send_connection

        connection_file, info = own_connection(options, folder)
        listener = stack.enter_context(CommandListener(pid=os.getpid(), port_range=options.port_range))
        send_connection(options, info, command_port=listener.port)
        return _STARTS[options.language](options, connection_file)
