"""The wall clock of one process, set at will: what libfaketime does."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["JumpingClock", "faketime_library"]


def faketime_library() -> str:
    """Return libfaketime's path: LIBFAKETIME, else where Debian installs it; empty where there is none."""
    found = (str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return os.environ.get("LIBFAKETIME") or next(found, "")


class JumpingClock:
    """Sets the wall clock of the processes that are started with its environment.

    Parameters
    ----------
    library
        libfaketime's path.
    file
        By which those processes are told; it needn't exist.
    """

    def __init__(self, library: str, file: Path) -> None:
        self._file = file
        self.environment = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            # The clock that only goes forward is never set on a real machine.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, seconds: int) -> None:
        """Set the clock to so many seconds after the right time, or before it."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}", encoding="utf-8")
        new.rename(self._file)
