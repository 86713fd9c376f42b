"""Kernels that speak an older major version of Jupyter's message protocol than 5.

Nearly none do. For those that do, each message is decoded, adapted by jupyter_client, and encoded again.
"""

from collections.abc import Sequence

from jupyter_client.adapter import adapt
from jupyter_client.session import Session

from enterprise_gateway.links.messages import TEXT_PARTS, MalformedMessage

__all__ = ["from_kernel", "is_needed", "to_kernel"]

_CURRENT = 5
_NAMES = ("header", "parent_header", "metadata", "content")


def is_needed(session: Session) -> bool:
    """Tell whether the kernel of this session speaks an older version."""
    return 0 < session.adapt_version < _CURRENT


def from_kernel(parts: Sequence[bytes], session: Session) -> list[bytes]:
    """Return a kernel's message in the current version; raises `MalformedMessage`."""
    return _adapt(parts, session, _CURRENT)


def to_kernel(parts: Sequence[bytes], session: Session) -> list[bytes]:
    """Return a client's message in the kernel's version; raises `MalformedMessage`."""
    return _adapt(parts, session, session.adapt_version)


def _adapt(parts: Sequence[bytes], session: Session, version: int) -> list[bytes]:
    try:
        message = {name: session.unpack(part) for name, part in zip(_NAMES, parts, strict=False)}
        message |= {"msg_id": message["header"]["msg_id"], "msg_type": message["header"]["msg_type"]}
        adapted = adapt(message, version)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedMessage("it doesn't follow the version of the protocol that its kernel speaks") from error
    return [*(session.pack(adapted[name]) for name in _NAMES), *parts[TEXT_PARTS:]]
