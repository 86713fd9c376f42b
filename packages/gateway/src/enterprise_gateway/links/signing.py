"""Signatures of Jupyter's wire format: `[identity…, <IDS|MSG>, HMAC, header, parent header, metadata, content, buffer…]`."""

from collections.abc import Sequence
from hmac import compare_digest

from jupyter_client.session import DELIM, Session

from enterprise_gateway.links.messages import TEXT_PARTS, MalformedMessage

__all__ = ["InvalidSignature", "open_signed", "sign"]


class InvalidSignature(ValueError):
    """A message was not signed with its kernel's key."""


def open_signed(frames: list[bytes], session: Session, *, trusted: bool) -> list[bytes]:
    """Return the parts of a message after checking its signature; raises `InvalidSignature` or `MalformedMessage`.

    Parameters
    ----------
    trusted
        Leave the check out, because the connection itself is authenticated.
    """
    try:
        start = frames.index(DELIM) + 1
    except ValueError:
        raise MalformedMessage("no delimiter") from None
    if len(frames) - start <= TEXT_PARTS:
        raise MalformedMessage("too few parts")
    parts = frames[start + 1 :]
    if not trusted and session.auth is not None and not compare_digest(frames[start], session.sign(parts[:TEXT_PARTS])):
        raise InvalidSignature
    return parts


def sign(parts: Sequence[bytes], session: Session) -> list[bytes]:
    """Return the frames that carry a message's parts to its kernel."""
    return [DELIM, session.sign(list(parts[:TEXT_PARTS])), *parts]
