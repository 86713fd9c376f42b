"""A Java virtual machine that runs, as those who started it hand it on."""

import signal
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import subprocess

__all__ = ["LIGHTLY_COMPILED", "JvmFailed", "JvmProcess", "ignore_interrupts"]

LIGHTLY_COMPILED = (
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
)
"""Options of a JVM whose start runs most code once: with the defaults the second compiler takes a quarter of the time until the
first result. Loops of users get there all the same."""


class JvmFailed(Exception):
    """There is no JVM, or not any more; the text says why."""


class JvmProcess(NamedTuple):
    """A JVM that Python can speak with by py4j."""

    process: "subprocess.Popen[bytes]"
    """It ends with this process, whose end of its standard input it reads."""
    port: int
    secret: str


def ignore_interrupts() -> None:
    """Ignore SIGINT in a process that becomes a JVM and would end by it: who interrupts the group means the cell."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
