"""What a link to a kernel does with what a client sends, and what it tells a client that connects."""

from enum import Enum, auto

from enterprise_gateway.links.start_notices import Told

__all__ = ["LinkState"]


class LinkState(Enum):
    """What a link does with a client's message."""

    STARTING = auto()
    """Holds it for the kernel that was never up."""
    UP = auto()
    """Sends it to the kernel."""
    RESTARTING = auto()
    """Holds it for the kernel that is to come."""
    ENDED = auto()
    """Answers that the kernel is dead."""

    @property
    def holds(self) -> bool:
        """Whether a message waits for the kernel to be up."""
        return self in {LinkState.STARTING, LinkState.RESTARTING}

    @property
    def told(self) -> Told | None:
        """What a client is told that connects; nothing where the kernel says it itself, or its silence means nothing."""
        return {LinkState.STARTING: Told.STARTING, LinkState.ENDED: Told.DEAD}.get(self)
