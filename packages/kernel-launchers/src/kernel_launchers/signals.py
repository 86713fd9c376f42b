"""What SIGTERM does to a process that isn't supervised yet, or that is the kernel itself."""

import signal
import sys
from types import FrameType
from typing import Optional

__all__ = ["end_on_sigterm"]

_SIGNAL_STATUS = 128


def end_on_sigterm() -> None:
    """Have SIGTERM end this process as `sys.exit` does, so that what was registered for its end still runs."""

    def end(signum: int, _frame: Optional[FrameType]) -> None:
        sys.exit(_SIGNAL_STATUS + signum)

    signal.signal(signal.SIGTERM, end)
