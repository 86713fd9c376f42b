"""Messages from clients, in the raw parts that a frame of either subprotocol holds."""

from collections.abc import Sequence
from dataclasses import dataclass

from enterprise_gateway.links.messages import Header

__all__ = ["MOST_PARTS", "ClientMessage", "InvalidFrame"]

MOST_PARTS = 1024
"""Of one message from a client: each becomes an object and a frame of its own, however empty it is."""


class InvalidFrame(ValueError):
    """A client's frame is no message.

    Parameters
    ----------
    why
        What is wrong, without any of the frame's content.
    code
        The websocket closing code that says so.
    """

    def __init__(self, why: str, *, code: int = 1007) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class ClientMessage:
    """A message from a client, as far as a frame of any protocol says it."""

    channel: str
    header: Header
    parts: Sequence[bytes]
    """Header, parent header, metadata, content, buffers; each of the first four a JSON object."""
