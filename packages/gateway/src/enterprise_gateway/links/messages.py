"""Messages of a kernel, in the raw parts that its wire format has.

A message stays in the bytes that it came in. Its two headers are decoded once, however many clients it goes to.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from enterprise_gateway.links.sockets import ChannelName
from enterprise_gateway_common.message_log import Gap, Position

__all__ = [
    "TEXT_PARTS",
    "Encoder",
    "Header",
    "KernelMessage",
    "MalformedMessage",
    "PageItem",
    "ParentHeader",
    "decode_header",
    "require_object",
]

TEXT_PARTS = 4
"""Header, parent header, metadata and content stand before the buffers."""

Encoder = Callable[["KernelMessage"], tuple[bytes, bool]]
"""Makes a websocket's frame of a message, and tells whether it is binary."""


class MalformedMessage(ValueError):
    """The parts are no message; the text says why, and holds nothing of the message itself."""


class Header(msgspec.Struct):
    """The fields of a header that decide how a message is treated."""

    msg_id: str
    msg_type: str


class ParentHeader(msgspec.Struct):
    """The fields of a parent header, which is empty where a message answers nothing."""

    msg_id: str = ""
    msg_type: str = ""
    session: str = ""
    subshell_id: Any = None


_HEADER = msgspec.json.Decoder(Header)
_PARENT = msgspec.json.Decoder(ParentHeader)
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


def _decode_parent(part: bytes) -> ParentHeader:
    try:
        return _PARENT.decode(part)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        fields = _loads(part)
    if not isinstance(fields, dict):
        raise MalformedMessage("a part is no JSON object")
    msg_id, msg_type, session = (
        value if isinstance(value := fields.get(name), str) else "" for name in ("msg_id", "msg_type", "session")
    )
    return ParentHeader(msg_id, msg_type, session, fields.get("subshell_id"))


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
    recipient
        The session that it is for; `None` for all of them.
    by_gateway
        Whether the gateway made it, so that it holds nothing of the user's own code.
    """

    __slots__ = ("_frames", "_header", "_parent", "by_gateway", "channel", "parts", "recipient", "size")

    def __init__(
        self, channel: ChannelName, parts: Sequence[bytes], *, recipient: str | None = None, by_gateway: bool = False
    ) -> None:
        self.channel: ChannelName = channel
        self.parts = parts
        self.recipient = recipient
        self.by_gateway = by_gateway
        self.size = sum(map(len, parts))
        self._header: Header | None = None
        self._parent: ParentHeader | None = None
        self._frames: dict[Encoder, tuple[bytes, bool]] | None = None

    @property
    def header(self) -> Header:
        """The header's id and type; raises `MalformedMessage`."""
        if self._header is None:
            self._header = decode_header(self.parts[0])
        return self._header

    @property
    def parent(self) -> ParentHeader:
        """What the parent header says; raises `MalformedMessage`."""
        if self._parent is None:
            self._parent = _decode_parent(self.parts[1])
        return self._parent

    @property
    def outlives_output(self) -> bool:
        """Whether a full log keeps it longer than output: a reply, or a state of the kernel; raises `MalformedMessage`."""
        return self.channel != "iopub" or self.header.msg_type == "status"

    @property
    def parent_header(self) -> bytes:
        """The raw parent header."""
        return self.parts[1]

    def share_frames(self) -> None:
        """Keep the frames that are made of it, because more than one client is about to get them."""
        self._frames = {}

    def drop_frames(self) -> None:
        """Let go of the frames: the next client gets its own."""
        self._frames = None

    def frame(self, encode: Encoder) -> tuple[bytes, bool]:
        """Return its frame; raises `MalformedMessage` for what would break a client's connection."""
        if self._frames is None:
            return encode(self)
        frame = self._frames.get(encode)
        if frame is None:
            frame = self._frames[encode] = encode(self)
        return frame


PageItem = tuple[KernelMessage | Gap, Position, Position]
"""What stands at a position of a log, that position, and the one behind it."""
