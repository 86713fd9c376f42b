"""A process that has begun before anybody is known whose kernel it is to be, and waits to be told.

It is told its environment on its standard input, as a JSON object, by the supervisor whose pod was claimed.
"""

import json
import os
import sys
from contextlib import suppress
from typing import List, Sequence

from kernel_launchers.errors import NotInstalled
from kernel_launchers.supervisor.claim_channel import READY_DESCRIPTOR

__all__ = ["exec_command", "main", "wait_for_claim"]

_STDIN = 0
_CHUNK = 1 << 16
# Not `-m`: it would import from the working directory, where a user's random.py may lie.
_PROGRAM = "import sys; sys.path[:1] == [''] and sys.path.pop(0); from kernel_launchers.waiting import main; main()"


def wait_for_claim() -> None:
    """Return when this process has the environment of the kernel that it is to be; its standard input is empty then.

    Raises
    ------
    SystemExit
        Nobody will ever tell: the supervisor is gone.
    """
    os.write(READY_DESCRIPTOR, b"\n")
    os.close(READY_DESCRIPTOR)
    told = b"".join(iter(lambda: os.read(_STDIN, _CHUNK), b""))
    if not told:
        sys.exit(0)
    os.environ.update(json.loads(told))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, _STDIN)
    os.close(nothing)


def exec_command(command: Sequence[str]) -> List[str]:
    """Return the command of a process that waits, and becomes another program when it was claimed."""
    return [sys.executable, "-c", _PROGRAM, *command]


def main() -> None:
    """Wait, and become the program that the command line names."""
    command = sys.argv[1:]
    wait_for_claim()
    command = [argument.replace("{kernel_id}", os.environ.get("KERNEL_ID", "")) for argument in command]
    with suppress(OSError):
        os.execvp(command[0], command)  # noqa: S606  a kernel needs no shell
    refusal = NotInstalled(f"the kernel's program {command[0]} can't be run in this image")
    sys.stderr.write(f"launch-kernel: {refusal}\n")
    sys.exit(refusal.status)
