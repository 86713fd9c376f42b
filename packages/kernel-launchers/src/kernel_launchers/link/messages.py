"""What the supervisor reads of a kernel's messages, and the messages that it makes itself."""

import hashlib
import hmac
import json
import uuid
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

__all__ = ["DELIMITER", "TEXT_PARTS", "Headers", "Signer", "headers_of", "parts_of"]

DELIMITER = b"<IDS|MSG>"
TEXT_PARTS = 4
_PROTOCOL_VERSION = "5.3"
_MOST_REMEMBERED = 4096
_DECODER = json.JSONDecoder()


class Headers(NamedTuple):
    """What decides how a message is treated."""

    msg_id: str
    msg_type: str
    parent_id: str
    parent_session: str


def parts_of(frames: Sequence[bytes]) -> Optional[List[bytes]]:
    """Return header, parent header, metadata, content and buffers; `None` where the frames are no message."""
    try:
        start = list(frames).index(DELIMITER) + 2
    except ValueError:
        return None
    parts = list(frames[start:])
    return parts if len(parts) >= TEXT_PARTS else None


def headers_of(parts: Sequence[bytes]) -> Optional[Headers]:
    """Return what a message's headers say; `None` where they aren't any."""
    header = _object(parts[0])
    # What is remembered must stay small, whatever a client calls its messages.
    parent = _parent(parts[1]) if len(parts[1]) <= _MOST_REMEMBERED else _parent.__wrapped__(parts[1])
    if header is None or parent is None:
        return None
    msg_id, msg_type = header.get("msg_id"), header.get("msg_type")
    if not (isinstance(msg_id, str) and isinstance(msg_type, str)):
        return None
    return Headers(msg_id, msg_type, *parent)


@lru_cache(maxsize=8)
def _parent(part: bytes) -> "Optional[Tuple[str, str]]":
    """Return id and session of a parent header, which is the same for everything that a cell says."""
    parent = _object(part)
    return None if parent is None else (_text(parent, "msg_id"), _text(parent, "session"))


def _object(part: bytes) -> "Optional[Dict[str, Any]]":
    try:
        # Not by json.loads, which begins with a search for the encoding that takes as long as the rest.
        value = _DECODER.decode(part.decode())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _text(fields: "Dict[str, Any]", name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


class Signer:
    """Makes messages, and signs those that go to the kernel.

    Parameters
    ----------
    key
        Of the kernel's connection file.
    session
        Of the headers.
    """

    def __init__(self, *, key: str, session: str) -> None:
        self._key = key.encode()
        self._session = session

    def make(self, message_type: str, content: "Dict[str, Any]", *, parent: bytes = b"{}") -> List[bytes]:
        """Return the parts of a new message."""
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": message_type,
            "session": self._session,
            "username": "",
            "date": datetime.now(timezone.utc).isoformat(),
            "version": _PROTOCOL_VERSION,
        }
        return [json.dumps(header).encode(), parent, b"{}", json.dumps(content).encode()]

    def sign(self, parts: Sequence[bytes]) -> List[bytes]:
        """Return the frames that take a message to the kernel."""
        signature = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in parts[:TEXT_PARTS]:
            signature.update(part)
        return [DELIMITER, signature.hexdigest().encode(), *parts]
