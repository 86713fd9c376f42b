"""Tickets: what a browser has in a page's address in place of a token.

A page can't send headers with what it loads, and the gateway sets no cookies, which would go along with requests that no user
made. So its address holds a ticket: good for one port of one kernel, for some hours, and for nothing else. Every replica checks
it by a secret that belongs to the kernel.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Tickets", "Visit"]

_SECONDS = 12 * 3600.0
_VERSION = b"kernel page 1"
_LONGEST = 128
_USER, _ANYBODY = "u", "a"


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What a ticket is good for."""

    kernel_id: str
    port: int
    user: str | None
    """The kernel's owner, where the gateway knows who its callers are."""


class Tickets:
    """Makes tickets and checks them.

    Parameters
    ----------
    clock
        Seconds since the epoch, of which replicas have about the same.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def issue(self, visit: Visit, secret: bytes) -> str:
        """Return a new ticket."""
        return _signed(visit, f"{int(self._clock() + _SECONDS):x}", secret)

    def check(self, ticket: str, *, kernel_id: str, port: int, owner: str, secret: bytes) -> Visit | None:
        """Return what a ticket is good for; `None` where it is not for this port of this kernel, or not any more."""
        kind, expires = ticket[:1], ticket[1:].partition("-")[0]
        if not secret or len(ticket) > _LONGEST or not ticket.isascii() or kind not in (_USER, _ANYBODY):
            return None
        visit = Visit(kernel_id=kernel_id, port=port, user=owner if kind == _USER else None)
        if not hmac.compare_digest(ticket, _signed(visit, expires, secret)):
            return None
        return visit if int(expires, 16) > self._clock() else None


def _signed(visit: Visit, expires: str, secret: bytes) -> str:
    kind = _ANYBODY if visit.user is None else _USER
    signed = b"\0".join(
        [_VERSION, visit.kernel_id.encode(), str(visit.port).encode(), (visit.user or "").encode(), expires.encode()]
    )
    mac = hmac.new(secret, kind.encode() + signed, hashlib.sha256).digest()
    return f"{kind}{expires}-{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
