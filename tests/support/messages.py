"""Jupyter messages as a client sees them, and the two ways in which a websocket carries them.

Written from the protocol's own description, beside the gateway's codec and jupyter_server's: a mistake that the gateway
and this module share would have to be made twice.
"""

from __future__ import annotations

import itertools
import json
import struct
import uuid
from dataclasses import dataclass, field
from typing import Any

__all__ = ["V1_PROTOCOL", "Message", "decode", "decode_legacy", "decode_v1", "encode_legacy", "encode_v1", "request"]

V1_PROTOCOL = "v1.kernel.websocket.jupyter.org"

_PARTS = ("header", "parent_header", "metadata", "content")


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message on one channel."""

    channel: str
    header: dict[str, Any]
    parent_header: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    content: dict[str, Any] = field(default_factory=dict)
    buffers: tuple[bytes, ...] = ()

    @property
    def type(self) -> str:
        """The message's type."""
        return str(self.header["msg_type"])

    @property
    def id(self) -> str:
        """The message's id."""
        return str(self.header["msg_id"])

    @property
    def parent(self) -> str | None:
        """The id of the request that this answers."""
        return self.parent_header.get("msg_id")


def request(channel: str, kind: str, content: dict[str, Any], *, session: str, buffers: tuple[bytes, ...] = ()) -> Message:
    """Make a client's message with an id of its own."""
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": kind,
        "username": "tester",
        "session": session,
        "date": "2026-01-01T00:00:00.000000Z",
        "version": "5.3",
    }
    return Message(channel=channel, header=header, content=content, buffers=buffers)


def _document(message: Message) -> dict[str, Any]:
    return {"channel": message.channel, "buffers": []} | {part: getattr(message, part) for part in _PARTS}


def encode_legacy(message: Message) -> str | bytes:
    """Return the JSON text; with buffers the binary form: a count and offsets of 32 bits, big endian, then the parts."""
    text = json.dumps(_document(message))
    if not message.buffers:
        return text
    parts = [text.encode(), *message.buffers]
    count = len(parts)
    offsets = [4 * (count + 1)]
    for part in parts[:-1]:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"!{count + 1}I", count, *offsets) + b"".join(parts)


def decode_legacy(frame: str | bytes) -> Message:
    """Undo `encode_legacy`."""
    buffers: tuple[bytes, ...] = ()
    if isinstance(frame, bytes):
        (count,) = struct.unpack_from("!I", frame)
        offsets = [*struct.unpack_from(f"!{count}I", frame, 4), len(frame)]
        parts = [frame[start:end] for start, end in itertools.pairwise(offsets)]
        frame, buffers = parts[0].decode(), tuple(parts[1:])
    document = json.loads(frame)
    return Message(channel=document["channel"], buffers=buffers, **{part: document[part] for part in _PARTS})


def encode_v1(message: Message) -> bytes:
    """Return the binary form: a count and offsets of 64 bits, little endian; channel, four JSON parts, buffers."""
    texts = [message.channel.encode(), *(json.dumps(getattr(message, part)).encode() for part in _PARTS)]
    parts = [*texts, *message.buffers]
    count = len(parts) + 1
    offsets = [8 * (count + 1)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"<{count + 1}Q", count, *offsets) + b"".join(parts)


def decode_v1(frame: bytes) -> Message:
    """Undo `encode_v1`."""
    (count,) = struct.unpack_from("<Q", frame)
    offsets = struct.unpack_from(f"<{count}Q", frame, 8)
    parts = [frame[start:end] for start, end in itertools.pairwise(offsets)]
    documents = {name: json.loads(part) for name, part in zip(_PARTS, parts[1:5], strict=True)}
    return Message(channel=parts[0].decode(), buffers=tuple(parts[5:]), **documents)


def decode(frame: str | bytes, protocol: str) -> Message:
    """Decode a frame of either protocol."""
    if protocol != V1_PROTOCOL:
        return decode_legacy(frame)
    assert isinstance(frame, bytes), "the v1 protocol has binary frames only"
    return decode_v1(frame)
