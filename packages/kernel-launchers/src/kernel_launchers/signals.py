"""What SIGTERM does to a process that isn't supervised yet, or that is the kernel itself."""

import signal
import sys
from types import FrameType
from typing import Callable, Optional

__all__ = ["end_on_sigterm"]

_SIGNAL_STATUS = 128


def end_on_sigterm(*, before: "Optional[Callable[[int], None]]" = None) -> None:
    """Have SIGTERM end this process as `sys.exit` does, so that what was registered for its end still runs.

    Parameters
    ----------
    before
        Called first, with the status that the process is to have.
    """

    def end(signum: int, _frame: Optional[FrameType]) -> None:
        status = _SIGNAL_STATUS + signum
        if before is not None:
            before(status)
        sys.exit(status)

    signal.signal(signal.SIGTERM, end)
