"""Says why a kernel ended where Kubernetes looks for it: the pod's termination message, and the log."""

import sys
from pathlib import Path

__all__ = ["report"]

_FILE = Path("/dev/termination-log")
_LONGEST = 4096  # what Kubernetes keeps of a message, in bytes


def report(message: str, *, file: Path = _FILE) -> None:
    """Write a message to the log, and its end to the termination message where the container has one."""
    sys.stderr.write(message.rstrip() + "\n")
    sys.stderr.flush()
    try:
        if file.exists():
            file.write_bytes(message.encode("utf-8", "replace")[-_LONGEST:])
    except OSError:
        # An image may be run by something else than Kubernetes; the log has the message.
        return
