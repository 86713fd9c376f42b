"""Who may call: tokens, the origin of browsers' requests, and the headers that tell browsers about it."""

import hmac
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest

from enterprise_gateway.errors import Forbidden, Unauthenticated
from enterprise_gateway.identity import ANONYMOUS, Identity
from enterprise_gateway_common.tokens import is_one_printable_word

__all__ = ["Access", "Authorizer", "CrossOriginHeaders", "TokenFile"]

_log = logging.getLogger(__name__)

_SCHEMES = frozenset({"token", "bearer"})


class TokenFile:
    """Tokens with their users, read from a file again whenever it changes.

    Parameters
    ----------
    path
        One `user:token` a line; empty lines and lines that begin with # are left out.

    Raises
    ------
    ValueError
        A line has another form, or a token stands there twice; the text names the line, never the token.
    OSError
        The file can't be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._stamp_now()
        self._users = self._read()

    def users(self) -> Mapping[bytes, str]:
        """Return token to user, as the file last could be read."""
        try:
            stamp = self._stamp_now()
            if stamp != self._stamp:
                self._users, self._stamp = self._read(), stamp
                _log.info("Tokens read again", extra={"count": len(self._users)})
        except (OSError, ValueError) as error:
            # A file that is being replaced must not lock everybody out: the tokens that were known stay good.
            _log.error("The file of tokens can't be used; the tokens read before stay valid", extra={"cause": str(error)})
        return self._users

    def _stamp_now(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read(self) -> dict[bytes, str]:
        users: dict[bytes, str] = {}
        for number, line in enumerate(self._path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            user, colon, token = (part.strip() for part in line.partition(":"))
            if not (user and colon and token):
                raise ValueError(f"line {number} of the file of tokens is not user:token")
            if not is_one_printable_word(token):
                raise ValueError(f"line {number} of the file of tokens has a token that isn't printable ASCII without blanks")
            if token.encode() in users:
                raise ValueError(f"line {number} of the file of tokens repeats a token")
            users[token.encode()] = user
        return users


class Authorizer(Protocol):
    """An administrator's own decision about each request (`authorizer_class`)."""

    def is_authorized(self, handler: object, user: str | None, action: str, resource: str) -> bool:
        """Tell whether a user may do something: `action` is the HTTP method in lower case, `resource` the request's path."""


class Access:
    """Decides who a request comes from and whether a page of that origin may send it.

    Parameters
    ----------
    token
        The token that everybody shares; empty where there is none.
    token_file
        Tokens of single users.
    allow_origin
        Origin that is accepted beside the gateway's own; `*` for all.
    authorized_origin
        DNS name that a client's certificate must carry; empty for any.
    authorizer
        Has the last word on every request, websockets among them.
    """

    def __init__(
        self,
        *,
        token: str,
        token_file: TokenFile | None = None,
        allow_origin: str = "",
        authorized_origin: str = "",
        authorizer: Authorizer | None = None,
    ) -> None:
        self._authorizer = authorizer
        self._token = token.encode()
        self._token_file = token_file
        self._allow_origin = allow_origin
        self._authorized_origin = authorized_origin

    @property
    def open(self) -> bool:
        """Tell whether no token is needed."""
        return not self._token and self._token_file is None

    def authenticate(self, request: HTTPServerRequest) -> Identity:
        """Return who a request comes from.

        Raises
        ------
        Unauthenticated
            It carries no token, or one that isn't known.
        Forbidden
            The client's certificate isn't of the name that is wanted.
        """
        self._check_certificate(request)
        if self.open:
            return ANONYMOUS
        given = _token_of(request)
        if given is None:
            raise Unauthenticated("A token is needed: send it as header 'Authorization: token …'.")
        identity = self._identity(given)
        if identity is None:
            raise Unauthenticated("The token isn't valid here.")
        return identity

    def knows(self, user: str | None) -> bool:
        """Tell whether somebody who was let in before still would be: a user who has a token, or anybody where none is named."""
        return user is None or (self._token_file is not None and user in self._token_file.users().values())

    def authorize(self, handler: object, identity: Identity, request: HTTPServerRequest) -> None:
        """Return where the administrator's own decision lets a request through.

        Raises
        ------
        Forbidden
            It doesn't.
        """
        action = (request.method or "").lower()
        if self._authorizer is not None and not self._authorizer.is_authorized(handler, identity.user, action, request.path):
            raise Forbidden("This installation doesn't allow you to do that.")

    def _identity(self, given: bytes) -> Identity | None:
        found = ANONYMOUS if self._token and hmac.compare_digest(given, self._token) else None
        # Every token is compared, whether or not one has matched: the time taken says nothing about any of them.
        for token, user in (self._token_file.users() if self._token_file else {}).items():
            if hmac.compare_digest(given, token):
                found = Identity(user)
        return found

    def _check_certificate(self, request: HTTPServerRequest) -> None:
        if not self._authorized_origin:
            return
        certificate = request.get_ssl_certificate()
        alternative = certificate.get("subjectAltName", ()) if isinstance(certificate, dict) else ()
        if ("DNS", self._authorized_origin) not in alternative:
            raise Forbidden("The client's certificate doesn't carry the name that is accepted here.")

    def origin_allowed(self, origin: str | None, request: HTTPServerRequest) -> bool:
        """Tell whether a page of `origin` may send this request; a client that isn't a browser sends no origin."""
        if origin is None:
            return True
        # An empty Origin is an origin, and no configured origin isn't the same as an empty one.
        if self._allow_origin and self._allow_origin in ("*", origin):
            return True
        # Compared as hosts, not as texts that begin alike.
        return urlsplit(origin).netloc.lower() == (request.headers.get("Host") or "").lower()


def _token_of(request: HTTPServerRequest) -> bytes | None:
    in_query = request.query_arguments.get("token")
    if in_query:
        return in_query[-1]
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    return token.strip().encode() if scheme.lower() in _SCHEMES and token.strip() else None


class CrossOriginHeaders:
    """The Access-Control-* headers that an administrator configured; none that wasn't.

    Parameters
    ----------
    values
        Header name to value; an empty value is not sent.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name: value for name, value in values.items() if value}

    def items(self) -> tuple[tuple[str, str], ...]:
        """Return the headers to send."""
        return tuple(self._values.items())
