"""What is known of one image on this node, as everybody outside of the schedule sees it."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["ImageState", "ImageStatus"]


class ImageState(StrEnum):
    """Where an image stands."""

    PRESENT = "present"  # it is on the node
    WAITING = "waiting"  # it is to be pulled as soon as a thread is free
    PULLING = "pulling"
    RETRYING = "retrying"  # a try failed, the next one has its time
    FAILED = "failed"  # a series of tries is over, or the registry said no; a later round begins a new series
    HELD = "held"  # it is missing and not pulled for a reason of the node: no room, or removed too often


@dataclass(frozen=True, kw_only=True)
class ImageStatus:
    """A snapshot of one wanted image."""

    reference: str
    state: ImageState
    policy: str
    wanted_by: tuple[str, ...]
    size: int
    since: float
    """When it came into this state, in seconds since 1970."""
    tries: int
    """Tries of the present or the last series."""
    last_error: str
    reason: str
    """The class of the last error; empty without one."""
    next_try: float | None
    """When it is tried again, in seconds since 1970, where that is a time and not just the next round."""
    done_bytes: int
    total_bytes: int
    """Of a pull that is running, where the runtime tells."""
