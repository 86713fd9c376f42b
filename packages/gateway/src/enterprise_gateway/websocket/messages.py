"""Messages between a kernel and a client, in the raw parts that the kernel's wire format has.

A message stays in the bytes that it came in; only its header is decoded, and only where something depends on it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from enterprise_gateway.websocket.kernel import ChannelName

__all__ = [
    "MOST_PARTS",
    "TEXT_PARTS",
    "ClientMessage",
    "Gap",
    "Header",
    "InvalidFrame",
    "Item",
    "KernelMessage",
    "MalformedMessage",
    "decode_header",
    "require_object",
]

TEXT_PARTS = 4
"""Header, parent header, metadata and content stand before the buffers."""

MOST_PARTS = 1024
"""Of one message from a client: each becomes an object and a frame of its own, however empty it is."""


class MalformedMessage(ValueError):
    """The parts are no message; the text says why, and holds nothing of the message itself."""


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


class Header(msgspec.Struct):
    """The fields of a header that decide how a message is treated."""

    msg_id: str
    msg_type: str


_HEADER = msgspec.json.Decoder(Header)
_RAW = msgspec.json.Decoder(msgspec.Raw)


def decode_header(part: bytes) -> Header:
    """Return a header's id and type; raises `MalformedMessage` where there are none."""
    try:
        return _HEADER.decode(part)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # msgspec refuses an escaped lone surrogate, which JavaScript writes and Python reads.
        fields = _loads(part)
    match fields:
        case {"msg_id": str(msg_id), "msg_type": str(msg_type)}:
            return Header(msg_id, msg_type)
    raise MalformedMessage("the header has no id and type")


def require_object(part: bytes) -> None:
    """Raise `MalformedMessage` unless the part is one JSON object."""
    try:
        raw = bytes(_RAW.decode(part))
    except (msgspec.DecodeError, RecursionError):
        if not isinstance(_loads(part), dict):
            raise MalformedMessage("a part is no JSON object") from None
        return
    if not raw.lstrip().startswith(b"{"):
        raise MalformedMessage("a part is no JSON object")


def _loads(part: bytes) -> Any:  # noqa: ANN401 - whatever the JSON holds
    try:
        return json.loads(part)
    except (ValueError, RecursionError):
        raise MalformedMessage("a part is no JSON") from None


class KernelMessage:
    """A message from a kernel whose signature was checked.

    Parameters
    ----------
    channel
        Where it came from.
    parts
        Header, parent header, metadata, content, buffers.
    """

    __slots__ = ("_header", "channel", "parts")

    def __init__(self, channel: ChannelName, parts: Sequence[bytes]) -> None:
        self.channel: ChannelName = channel
        self.parts = parts
        self._header: Header | None = None

    @property
    def header(self) -> Header:
        """The header's id and type; raises `MalformedMessage`."""
        if self._header is None:
            self._header = decode_header(self.parts[0])
        return self._header

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(map(len, self.parts))


@dataclass(frozen=True)
class Gap:
    """A place where messages were dropped."""

    messages: int
    size: int
    """Bytes of them."""
    parent: bytes = b"{}"
    """The last one's parent header, so that the client shows the notice below the right cell."""
    twice: bool = False
    """Whether it is one message, over which the connection was lost twice."""

    def __add__(self, later: "Gap") -> "Gap":
        return Gap(self.messages + later.messages, self.size + later.size, later.parent)

    def __str__(self) -> str:
        if self.twice:
            return (
                f"[output of {self.size} bytes was dropped: the connection was lost twice while it was sent. "
                "It may be larger than the client's limit for one message]"
            )
        return f"[{self.messages} messages ({self.size} bytes) of output were dropped while the connection was lost]"


Item = KernelMessage | Gap


@dataclass(frozen=True, kw_only=True)
class ClientMessage:
    """A message from a client, as far as a frame of any protocol says it."""

    channel: str
    header: Header
    parts: Sequence[bytes]
    """Header, parent header, metadata, content, buffers; each of the first four a JSON object."""
