"""What is added to a kernel's pages: a stand-in for what a page without an origin may not use.

Scripts that ask for `localStorage` there get an error in its place, and most pages don't expect one: half of Spark's UI stays
empty. So does a chart of TensorBoard's, whose worker isn't of the page's origin. The stand-in lives in the page and is forgotten
with it. It is a page's own script and can do nothing that the page can't.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources

from tornado.httputil import HTTPHeaders

__all__ = ["Document", "document_headers", "is_document"]

_BEGINNING = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s+|<!--.*?-->)*(?P<doctype><!doctype[^>]*>)?", re.IGNORECASE | re.DOTALL)
_MARK = b"\xef\xbb\xbf"
# By then whatever stands before a page's first element was seen.
_ENOUGH = 4096
_OK = 200


# By what a page's own policy says which scripts run in it, and which workers; the nearest first.
_SCRIPTS = ("script-src-elem", "script-src", "default-src")
_WORKERS = ("worker-src", "child-src", "script-src", "default-src")
_MADE_BY_THE_PAGE = "blob:"
_POLICY = "Content-Security-Policy"


@cache
def _source() -> bytes:
    return resources.files(__package__).joinpath("stand_in.js").read_bytes().strip()


@cache
def _script() -> bytes:
    return b"<script>" + _source() + b"</script>"


@cache
def _hash() -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(_source()).digest()).decode()}'"


def is_document(status: int, headers: HTTPHeaders) -> bool:
    """Tell whether an answer is a page that has a beginning, as text that can be read."""
    kind = headers.get("Content-Type", "").lower()
    return (
        status == _OK
        and kind.partition(";")[0].strip() == "text/html"
        and "utf-16" not in kind
        and headers.get("Content-Encoding", "identity").lower() == "identity"
        and headers.get("Content-Length") != "0"
    )


def document_headers(headers: HTTPHeaders) -> HTTPHeaders:
    """Return the headers of a page to which the stand-in was added: its length, and a policy by which it runs."""
    changed = headers.copy()
    if "Content-Length" in changed:
        changed["Content-Length"] = str(int(changed["Content-Length"]) + len(_script()))
    policies = changed.get_list(_POLICY)
    changed.pop(_POLICY, None)
    for policy in policies:
        changed.add(_POLICY, ", ".join(_allowing(each) for each in policy.split(",")))
    return changed


def _allowing(policy: str) -> str:
    """Return a policy that lets the stand-in run, with the workers that it makes, and otherwise the same scripts as before."""
    directives = [directive.split() for directive in policy.split(";") if directive.strip()]
    named = {directive[0].lower(): directive for directive in reversed(directives)}
    workers = _decisive(named, _WORKERS)
    if workers is not None and _MADE_BY_THE_PAGE not in workers:
        allowed = ["worker-src", *workers[1:], _MADE_BY_THE_PAGE]
        directives = [*(directive for directive in directives if directive is not named.get("worker-src")), allowed]
    scripts = _decisive(named, _SCRIPTS)
    # Where every script of the page runs, naming one would forbid the others.
    if scripts is not None and (_names_scripts(scripts) or "'unsafe-inline'" not in scripts):
        scripts.append(_hash())
    return "; ".join(" ".join(directive) for directive in directives)


def _decisive(named: Mapping[str, list[str]], names: Iterable[str]) -> list[str] | None:
    """Return the directive that decides; `None` where everything is allowed, or nothing is, so that nothing is missed."""
    found = next((named[name] for name in names if name in named), None)
    return None if found is None or "'none'" in found else found


def _names_scripts(directive: Iterable[str]) -> bool:
    return any(source.startswith(("'nonce-", "'sha")) for source in directive)


class Document:
    """Adds the stand-in where a page begins, before each of its own scripts."""

    def __init__(self) -> None:
        self._held: bytes | None = b""

    def take(self, piece: bytes) -> bytes:
        """Return what of the page is to be sent; what may come before its first element is held."""
        if self._held is None:
            return piece
        self._held += piece
        return self.end() if len(self._held) >= _ENOUGH or _has_begun(self._held) else b""

    def end(self) -> bytes:
        """Return what is left of it."""
        held, self._held = self._held, None
        if not held:
            return b""
        found = _BEGINNING.match(held)
        place = found.end() if found else 0
        return held[:place] + _script() + held[place:]


def _has_begun(held: bytes) -> bool:
    found = _BEGINNING.match(held)
    if found is None or found["doctype"]:
        return True
    if _MARK.startswith(held):
        return False
    rest = held[found.end() :][:2]
    # A comment or the kind of document may have come in part.
    return not b"<!".startswith(rest)
