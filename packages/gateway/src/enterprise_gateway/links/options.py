"""What an administrator can set about links to kernels."""

from dataclasses import dataclass

__all__ = ["LinkOptions"]

_MEBIBYTE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class LinkOptions:
    """Every limit of a link and its log."""

    max_message_bytes: int = 100 * _MEBIBYTE
    """The most bytes that may wait here for a kernel that doesn't read.

    What libzmq has taken already, at most 64 messages for each of the kernel's sockets, waits beside them.
    """

    log_bytes: int = 16 * _MEBIBYTE
    """The most bytes of a kernel's messages that are kept for clients that are away or slow."""

    log_messages: int = 10_000
    """The most messages of a kernel that are kept for them; with 0 of either a client that comes back begins anew."""

    read_ahead_bytes: int = 2 * _MEBIBYTE
    """How far every connected client may be behind before the gateway stops reading the kernel."""

    @property
    def keeps_absent(self) -> bool:
        """Whether a client that comes back gets what it missed."""
        return bool(self.log_bytes and self.log_messages)
