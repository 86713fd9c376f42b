"""The older websocket format: one JSON text a message; with buffers a binary frame of JSON and buffers.

Towards the client the text is spliced from the kernel's own bytes, which were signed, without decoding the content: a
message of 100 bytes costs a seventh of what decoding and encoding it costs. So a kernel that signs malformed JSON sends
it to its own clients, who see what their kernel wrote; what would break their connection, text that isn't UTF-8, is
refused here.
"""

import json
import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec

from enterprise_gateway.links.messages import KernelMessage, MalformedMessage, decode_header, require_object
from enterprise_gateway.websocket.messages import MOST_PARTS, ClientMessage, InvalidFrame

__all__ = ["decode", "encode"]

_RAW_EMPTY = msgspec.Raw(b"{}")
_NULL = b"null"
_WORD = 4
_SHELL = "shell"


class _Frame(msgspec.Struct):
    header: msgspec.Raw
    parent_header: msgspec.Raw = _RAW_EMPTY
    metadata: msgspec.Raw = _RAW_EMPTY
    content: msgspec.Raw = _RAW_EMPTY
    channel: str | None = None


_FRAME = msgspec.json.Decoder(_Frame)
_string = msgspec.json.Encoder().encode

_TAILS = {
    (channel, buffers): b',"channel":"%b"%b}' % (channel.encode(), b"" if buffers else b',"buffers":[]')
    for channel in ("shell", "control", "stdin", "iopub")
    for buffers in (False, True)
}


def encode(message: KernelMessage) -> tuple[bytes, bool]:
    """Return a frame and whether it is binary; raises `MalformedMessage` for what would break the connection."""
    fields = message.header
    header, parent, metadata, content, *buffers = message.parts
    for part in (parent, metadata):
        if part != b"{}":
            require_object(part)
    if not (content.startswith(b"{") and content.endswith(b"}")):
        require_object(content)
    # The gateway's own keys stand last: of a key that stands twice, every parser takes the last.
    text = b"".join(
        (
            b'{"header":',
            header,
            b',"parent_header":',
            parent,
            b',"metadata":',
            metadata,
            b',"content":',
            content,
            b',"msg_id":',
            _string(fields.msg_id),
            b',"msg_type":',
            _string(fields.msg_type),
            _TAILS[message.channel, bool(buffers)],
        )
    )
    if not text.isascii():
        _require_utf8(text)
    return (_join([text, *buffers]), True) if buffers else (text, False)


def _require_utf8(text: bytes) -> None:
    try:
        text.decode()
    except UnicodeDecodeError:
        raise MalformedMessage("text is not UTF-8") from None


def _join(parts: Sequence[bytes]) -> bytes:
    offset = _WORD * (len(parts) + 1)
    offsets = []
    for part in parts:
        offsets.append(offset)
        offset += len(part)
    if offset >> 32:
        raise MalformedMessage("too large for 32-bit offsets")
    return b"".join((struct.pack(f"!{len(parts) + 1}I", len(parts), *offsets), *parts))


def decode(frame: str | bytes) -> ClientMessage:
    """Return a client's message; raises `InvalidFrame`, whatever the frame holds."""
    text, *buffers = _split(frame) if isinstance(frame, bytes) else [frame]
    try:
        fields = _FRAME.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        fields = _decode_leniently(text)
    parts = [bytes(fields.header), *(_or_empty(part) for part in (fields.parent_header, fields.metadata, fields.content))]
    if not all(part.startswith(b"{") for part in parts):
        raise InvalidFrame("a part is no JSON object")
    try:
        header = decode_header(parts[0])
    except MalformedMessage as error:
        raise InvalidFrame(str(error)) from None
    channel = _SHELL if fields.channel is None else fields.channel
    return ClientMessage(channel=channel, header=header, parts=[*parts, *buffers])


def _or_empty(part: msgspec.Raw) -> bytes:
    raw = bytes(part)
    return b"{}" if raw == _NULL else raw


def _decode_leniently(text: str | bytes) -> _Frame:
    """Take what Python's own parser takes, as jupyter_server does: NaN, and escaped lone surrogates from JavaScript."""
    try:
        document = json.loads(text)
        fields: dict[str, Any] = {
            key: msgspec.Raw(json.dumps(value).encode())
            for key, value in document.items()
            if key in {"header", "parent_header", "metadata", "content"}
        }
    except (ValueError, AttributeError, RecursionError):
        raise InvalidFrame("no JSON object") from None
    if "header" not in fields:
        raise InvalidFrame("no header")
    channel = document.get("channel")
    if channel is not None and not isinstance(channel, str):
        raise InvalidFrame("the channel is no string")
    return _Frame(channel=channel, **fields)


def _split(frame: bytes) -> list[bytes]:
    if len(frame) < _WORD:
        raise InvalidFrame("no count of parts")
    (count,) = struct.unpack_from("!I", frame)
    if count > MOST_PARTS:
        raise InvalidFrame(f"it has more than {MOST_PARTS} parts")
    start = _WORD * (count + 1)
    if not count or start > len(frame):
        raise InvalidFrame("the count of parts is wrong")
    offsets = [*struct.unpack_from(f"!{count}I", frame, _WORD), len(frame)]
    if offsets[0] < start or any(a > b for a, b in pairwise(offsets)):
        raise InvalidFrame("the offsets are wrong")
    return [frame[a:b] for a, b in pairwise(offsets)]
