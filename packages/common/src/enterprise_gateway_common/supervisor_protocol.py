"""What a gateway and the supervisor beside a kernel say to each other.

A message is a kind, its fields, and the parts of a kernel's message where it carries one. Entries of the log are by far the
most of them, so their fields are packed; those of the others are JSON.

===============  =============  ===========================================================================================
kind             sent by        meaning
===============  =============  ===========================================================================================
hello            gateway        begins a link: the versions that it speaks, and a name for this replica
welcome          supervisor     answers: the version to speak, its epoch, where its log begins and ends, the kernel's state
refused          supervisor     answers in its place: no version is spoken by both
follow           gateway        send the log from a position on, so far ahead of what is acknowledged
acknowledge      gateway        how far the log was taken in, in bytes
entry            supervisor     messages of the log, in order
skipped          supervisor     entries that the log's bounds drove out before they were sent
read             gateway        send a page of the log again, for a client that is far behind
page             supervisor     answers: entries, and what is missing between them
attach           gateway        a client's session is connected here
attached         supervisor     answers: the position up to which the session was delivered everything
taken_over       supervisor     the session is connected to another replica
delivered        gateway        how far sessions were delivered everything
send             gateway        a client's message to the kernel; one that is sent twice runs once
taken            supervisor     messages up to a number are with the kernel
command          gateway        restart, interrupt, claim
done             supervisor     answers: whether it was done, and why not
state            supervisor     what became of the kernel
usage            supervisor     how much memory and processor its container uses
===============  =============  ===========================================================================================

An epoch names one life of a supervisor; positions of another epoch mean nothing.
"""

import json
import struct
from enum import Enum
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple, Union

from enterprise_gateway_common.message_log import Gap, Position

__all__ = [
    "CHANNELS",
    "NO_SESSION",
    "REQUESTS",
    "SUPERVISOR_PORT",
    "VERSIONS",
    "Entry",
    "KernelPhase",
    "Kind",
    "MalformedFrames",
    "decode",
    "decode_entries",
    "decode_page",
    "encode",
    "encode_entries",
    "encode_page",
    "position_of",
]

VERSIONS = (1,)
"""The versions of this protocol that are spoken here."""

SUPERVISOR_PORT = 52316
"""Beside the kernel's own ports, of which none is open where a supervisor listens here."""

REQUESTS = "requests"
"""The channel of the log that has what clients asked: who comes later knows what the outputs belong to."""

CHANNELS = ("shell", "control", "stdin", "iopub", REQUESTS)

NO_SESSION = "\0"
"""In place of a recipient: an entry for no client at all."""

_ENTRY = struct.Struct("!QQBBII")
_TO_ALL, _BY_SUPERVISOR = 1, 2
_LENGTH_BYTES = 8
_NUMBERS_OF_A_GAP = 4


class Kind(bytes, Enum):
    """The first frame of every message."""

    HELLO = b"hello"
    WELCOME = b"welcome"
    REFUSED = b"refused"
    FOLLOW = b"follow"
    ACKNOWLEDGE = b"acknowledge"
    ENTRY = b"entry"
    SKIPPED = b"skipped"
    READ = b"read"
    PAGE = b"page"
    ATTACH = b"attach"
    ATTACHED = b"attached"
    TAKEN_OVER = b"taken_over"
    DELIVERED = b"delivered"
    SEND = b"send"
    TAKEN = b"taken"
    COMMAND = b"command"
    DONE = b"done"
    STATE = b"state"
    USAGE = b"usage"


class KernelPhase(str, Enum):
    """What a supervisor's kernel is doing, as far as its process tells."""

    PREPARING = "preparing"
    """Its program is started, as far as it can be before anybody is known whose kernel it is."""
    WAITING = "waiting"
    """It was: it waits for its pod to be claimed."""
    RUNNING = "running"
    RESTARTING = "restarting"
    EXITED = "exited"


class MalformedFrames(ValueError):
    """Frames are no message of this protocol."""


class Entry(NamedTuple):
    """One message of a kernel's log."""

    position: Position
    channel: str
    """One of `CHANNELS`."""
    recipient: "str | None"
    """The session that it is for; `None` for all."""
    by_supervisor: bool
    """Whether the supervisor made it, in place of a kernel that couldn't."""
    parts: Sequence[bytes]
    """Header, parent header, metadata, content, buffers."""


def encode(kind: Kind, fields: Dict[str, Any], parts: Sequence[bytes] = ()) -> List[bytes]:
    """Return the frames of a message."""
    return [kind.value, json.dumps(fields, separators=(",", ":")).encode(), *parts]


def decode(frames: Sequence[bytes]) -> "Tuple[Kind, Dict[str, Any], Sequence[bytes]]":
    """Return a message's kind, its fields and its parts.

    Raises
    ------
    MalformedFrames
        It is none.
    """
    try:
        kind, fields = Kind(frames[0]), json.loads(frames[1])
    except (IndexError, ValueError, RecursionError):
        raise MalformedFrames("no message of the supervisor's protocol") from None
    if not isinstance(fields, dict):
        raise MalformedFrames(f"the fields of {kind.name.lower()} are no object")
    return kind, fields, frames[2:]


def position_of(value: object) -> Position:
    """Return the position that a field holds.

    Raises
    ------
    MalformedFrames
        It holds none.
    """
    if isinstance(value, (list, tuple)) and len(value) == len(Position._fields):
        number, offset = value
        if isinstance(number, int) and isinstance(offset, int) and number >= 0 and offset >= 0:
            return Position(number, offset)
    raise MalformedFrames("a position is two whole numbers")


def encode_entries(entries: Sequence[Entry]) -> List[bytes]:
    """Return the frames of entries that are sent as they are said.

    Together, because each frame costs both ends as much as the bytes of many small entries do.
    """
    return [Kind.ENTRY.value, *_packed(entries)]


def decode_entries(frames: Sequence[bytes]) -> List[Entry]:
    """Return the entries of a message; raises `MalformedFrames`."""
    try:
        _, heads, body = frames
        return _unpacked(heads, body)
    except (ValueError, IndexError, struct.error):
        raise MalformedFrames("entries without their fields") from None


def _packed(entries: Sequence[Entry]) -> Tuple[bytes, bytes]:
    heads: List[bytes] = []
    body: List[bytes] = []
    for entry in entries:
        recipient = (entry.recipient or "").encode("utf-8", "surrogatepass")
        flags = (_TO_ALL if entry.recipient is None else 0) | (_BY_SUPERVISOR if entry.by_supervisor else 0)
        count = len(entry.parts)
        heads.append(_ENTRY.pack(*entry.position, CHANNELS.index(entry.channel), flags, len(recipient), count))
        heads.append(struct.pack(f"!{count}Q", *map(len, entry.parts)))
        body.append(recipient)
        body += entry.parts
    return b"".join(heads), b"".join(body)


def _unpacked(heads: bytes, body: bytes) -> List[Entry]:
    entries: List[Entry] = []
    place = start = 0
    while place < len(heads):
        number, offset, channel, flags, recipient_length, count = _ENTRY.unpack_from(heads, place)
        place += _ENTRY.size
        lengths = struct.unpack_from(f"!{count}Q", heads, place)
        place += count * _LENGTH_BYTES
        recipient = body[start : start + recipient_length].decode("utf-8", "surrogatepass")
        start += recipient_length
        parts = []
        for length in lengths:
            parts.append(body[start : start + length])
            start += length
        to = None if flags & _TO_ALL else recipient
        entries.append(Entry(Position(number, offset), CHANNELS[channel], to, bool(flags & _BY_SUPERVISOR), parts))
    if start != len(body):
        raise MalformedFrames("entries whose parts are not as long as they say")
    return entries


def encode_page(page_id: int, items: Sequence[Union[Entry, Gap]], end: Position) -> List[bytes]:
    """Return the frames of a page of the log.

    Parameters
    ----------
    end
        The position behind it.
    """
    gaps = [item for item in items if isinstance(item, Gap)]
    described = [[*item.start, *item.end] if isinstance(item, Gap) else None for item in items]
    entries = _packed([item for item in items if not isinstance(item, Gap)])
    return encode(Kind.PAGE, {"id": page_id, "items": described, "end": end}, [*entries, *(gap.parent_header for gap in gaps)])


def decode_page(fields: Dict[str, Any], parts: Sequence[bytes]) -> "List[Union[Entry, Gap]]":
    """Return what stands on a page; raises `MalformedFrames`."""
    items: List[Union[Entry, Gap]] = []
    try:
        heads, body, *parents = parts
        entries = iter(_unpacked(heads, body))
        for described in fields["items"]:
            if described is None:
                items.append(next(entries))
            else:
                start, end = position_of(described[:2]), position_of(described[2:_NUMBERS_OF_A_GAP])
                items.append(Gap(start, end, parents.pop(0)))
    except (KeyError, IndexError, TypeError, ValueError, StopIteration, struct.error):
        raise MalformedFrames("a page without its fields") from None
    return items
