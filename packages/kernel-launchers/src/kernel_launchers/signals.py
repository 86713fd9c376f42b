"""What a signal does to a kernel that is the first process of its container.

The first process of a container gets no signal that it hasn't asked for, so without this a pod would sit out its whole
grace period before it is killed.
"""

import signal
import subprocess
import sys
from types import FrameType
from typing import List, Optional

__all__ = ["end_on_sigterm", "run_child"]

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_SIGNAL_STATUS = 128


def end_on_sigterm() -> None:
    """Have SIGTERM end this process as `sys.exit` does, so that what was registered for its end still runs."""

    def end(signum: int, _frame: Optional[FrameType]) -> None:
        sys.exit(_SIGNAL_STATUS + signum)

    signal.signal(signal.SIGTERM, end)


def run_child(command: List[str]) -> int:
    """Return the exit status of a program that gets every signal that this process gets.

    A program that a signal ended has the status that shells give it: 128 and the signal's number.
    """
    with subprocess.Popen(command) as child:  # noqa: S603  the command is made from options, never by a shell

        def forward(signum: int, _frame: Optional[FrameType]) -> None:
            child.send_signal(signum)

        before = {number: signal.signal(number, forward) for number in _FORWARDED}
        try:
            status = child.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return _SIGNAL_STATUS - status if status < 0 else status
