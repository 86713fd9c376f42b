"""The `v1.kernel.websocket.jupyter.org` format: 64-bit offsets, then the channel and the kernel's own parts, unchanged."""

import struct
from itertools import pairwise

from enterprise_gateway.links.messages import TEXT_PARTS, KernelMessage, MalformedMessage, decode_header, require_object
from enterprise_gateway.websocket.messages import MOST_PARTS, ClientMessage, InvalidFrame

__all__ = ["decode", "encode"]

_WORD = 8
_FEWEST_OFFSETS = TEXT_PARTS + 2
_UNSUPPORTED_DATA = 1003

_COUNT = struct.Struct("<Q")
# A message without buffers, which nearly all are: a count and seven offsets.
_PLAIN = struct.Struct("<7Q")
_PLAIN_COUNT = 6
_CHANNELS = {name: name.encode() for name in ("shell", "control", "stdin", "iopub")}


def encode(message: KernelMessage) -> tuple[bytes, bool]:
    """Return a frame, which is always binary."""
    channel, parts = _CHANNELS[message.channel], message.parts
    if len(parts) == TEXT_PARTS:
        header, parent, metadata, content = parts
        first = _PLAIN.size + len(channel)
        second = first + len(header)
        third = second + len(parent)
        fourth = third + len(metadata)
        offsets = _PLAIN.pack(_PLAIN_COUNT, _PLAIN.size, first, second, third, fourth, fourth + len(content))
        return b"".join((offsets, channel, header, parent, metadata, content)), True
    count = len(parts) + 2
    numbers = [count, _WORD * (count + 1)]
    for part in (channel, *parts):
        numbers.append(numbers[-1] + len(part))
    return b"".join((struct.pack(f"<{count + 1}Q", *numbers), channel, *parts)), True


def decode(frame: str | bytes) -> ClientMessage:
    """Return a client's message; raises `InvalidFrame`, whatever the frame holds."""
    if isinstance(frame, str):
        raise InvalidFrame("this subprotocol has no text frames", code=_UNSUPPORTED_DATA)
    if len(frame) < _WORD:
        raise InvalidFrame("no count of offsets")
    (count,) = _COUNT.unpack_from(frame)
    if count > MOST_PARTS:
        raise InvalidFrame(f"it has more than {MOST_PARTS} parts")
    start = _WORD * (count + 1)
    if count < _FEWEST_OFFSETS or start > len(frame):
        raise InvalidFrame("the count of offsets is wrong")
    offsets = struct.unpack_from(f"<{count}Q", frame, _WORD)
    if offsets[0] < start or offsets[-1] > len(frame) or any(a > b for a, b in pairwise(offsets)):
        raise InvalidFrame("the offsets are wrong")
    channel, *parts = (frame[a:b] for a, b in pairwise(offsets))
    try:
        header = decode_header(parts[0])
        for part in parts[1:TEXT_PARTS]:
            require_object(part)
        return ClientMessage(channel=channel.decode(), header=header, parts=parts)
    except (MalformedMessage, UnicodeDecodeError) as error:
        why = str(error) if isinstance(error, MalformedMessage) else "the channel is not UTF-8"
        raise InvalidFrame(why) from None
