"""Which headers pass between a client and a port of its kernel: lists of what may, so that what nobody thought of doesn't.

What a client sends may be the user's: tokens, cookies, what proxies before the gateway add to say who the user is. What the port
answers is the kernel's: it must not speak for the gateway's origin.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from tornado.httputil import HTTPHeaders

__all__ = ["SANDBOX", "ForeignRedirect", "Forwarding", "answer_headers", "request_headers"]

SANDBOX = "sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts"
"""Gives a page an origin of its own, which nothing else has: its scripts read nothing of the gateway's, and store nothing."""

_TO_KERNEL = (
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Cache-Control",
    "Content-Encoding",
    "Content-Language",
    "Content-Type",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Last-Event-ID",
    "Pragma",
    "Range",
    "User-Agent",
    "X-Requested-With",
    "X-XSRF-Protected",
)
_HANDSHAKE_TO_KERNEL = ("Sec-WebSocket-Extensions", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol", "Sec-WebSocket-Version")
_TO_CLIENT = (
    "Accept-Ranges",
    "Allow",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-Range",
    "Content-Security-Policy",
    "Content-Type",
    "ETag",
    "Expires",
    "Last-Modified",
    "Retry-After",
    "Vary",
    "X-Frame-Options",
)
_HANDSHAKE_TO_CLIENT = ("Sec-WebSocket-Accept", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol")
# A browser takes a backslash for a slash, and leaves out what can't be seen.
_PLAIN_LOCATION = re.compile(r"[!-\[\]-~]*")
_SHARED_CACHES = ("public", "private", "s-maxage")


class ForeignRedirect(ValueError):
    """The port sends its client to somewhere else than the port itself."""


@dataclass(frozen=True, kw_only=True)
class Forwarding:
    """Where one request comes from and goes to."""

    kernel: str
    """Host and port that the kernel's side is asked under."""
    client: str
    """Host and port that the client asked."""
    scheme: str
    """By which the client asked: http or https."""
    prefix: str
    """The path that stands for the port's root, without a slash at its end."""


def request_headers(given: HTTPHeaders, forwarding: Forwarding, *, upgrade: bool = False) -> HTTPHeaders:
    """Return what the kernel gets of a client's headers, and what tells it under which path its pages are shown.

    Parameters
    ----------
    upgrade
        Whether the request is for a websocket.
    """
    passed = HTTPHeaders({"Host": forwarding.kernel})
    _copy(given, passed, (*_TO_KERNEL, *(_HANDSHAKE_TO_KERNEL if upgrade else ())))
    if "Origin" in given:
        # It was judged already; servers compare it with the host that they know themselves by.
        passed["Origin"] = f"http://{forwarding.kernel}"
    passed["Connection"] = "Upgrade" if upgrade else "close"
    if upgrade:
        passed["Upgrade"] = "websocket"
    passed["X-Forwarded-Host"] = forwarding.client
    passed["X-Forwarded-Proto"] = forwarding.scheme
    # The second name is what Spark reads.
    passed["X-Forwarded-Prefix"] = passed["X-Forwarded-Context"] = forwarding.prefix
    return passed


def answer_headers(given: HTTPHeaders, forwarding: Forwarding, *, upgrade: bool = False) -> list[tuple[str, str]]:
    """Return what the client gets of the kernel's headers, and what keeps its page apart from the gateway's origin.

    Raises
    ------
    ForeignRedirect
        It sends the client elsewhere.
    """
    passed = HTTPHeaders()
    if upgrade:
        _copy(given, passed, _HANDSHAKE_TO_CLIENT)
        passed["Connection"], passed["Upgrade"] = "Upgrade", "websocket"
        return list(passed.get_all())
    _copy(given, passed, _TO_CLIENT)
    if "Location" in given:
        passed["Location"] = _location(given["Location"], forwarding)
    passed["Cache-Control"] = _for_one_user(given.get("Cache-Control", ""))
    passed.add("Content-Security-Policy", SANDBOX)
    # The address of a page may be what lets its user in.
    passed["Referrer-Policy"] = "no-referrer"
    return list(passed.get_all())


def _copy(given: HTTPHeaders, passed: HTTPHeaders, names: Iterable[str]) -> None:
    for name in names:
        for value in given.get_list(name):
            passed.add(name, value)


def _location(location: str, forwarding: Forwarding) -> str:
    if not _PLAIN_LOCATION.fullmatch(location):
        raise ForeignRedirect
    try:
        parts = urlsplit(location)
    except ValueError as error:
        raise ForeignRedirect from error
    if not parts.scheme and not parts.netloc and not parts.path.startswith("/"):
        return location
    # `https:host` without slashes is a host to a browser and none to a parser.
    if parts.scheme not in ("", "http", "https") or bool(parts.scheme) > bool(parts.netloc):
        raise ForeignRedirect
    if parts.netloc not in ("", forwarding.kernel, forwarding.client):
        raise ForeignRedirect
    path = parts.path or "/"
    shown = path == forwarding.prefix or path.startswith(forwarding.prefix + "/")
    rest = f"?{parts.query}" * bool(parts.query) + f"#{parts.fragment}" * bool(parts.fragment)
    return (path if shown else forwarding.prefix + path) + rest


def _for_one_user(cache_control: str) -> str:
    """Return an answer's Cache-Control without leave for caches that others use too."""
    directives = [directive.strip() for directive in cache_control.split(",")]
    own = [each for each in directives if each and each.partition("=")[0].strip().lower() not in _SHARED_CACHES]
    return ", ".join(["private", *own])
