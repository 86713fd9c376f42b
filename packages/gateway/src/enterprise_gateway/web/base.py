"""What every HTTP handler has in common: access, bounds, JSON in and out, and errors without secrets."""

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, TypeVar

import msgspec
from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError, RequestHandler, stream_request_body

from enterprise_gateway.errors import BadRequest, Forbidden, GatewayError, PayloadTooLarge, UnsupportedMediaType
from enterprise_gateway.identity import ANONYMOUS, Identity
from enterprise_gateway.metrics import GatewayMetrics
from enterprise_gateway.web.access import Access, CrossOriginHeaders
from enterprise_gateway.web.models import InvalidBody, decode
from enterprise_gateway.web.operations import Operation

__all__ = ["Edge", "JsonHandler"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_REQUEST_ID = re.compile(r"[\w.:/+=@-]{1,128}")
_LONGEST_NUMBER = 18
# curl's -d declares its JSON as a form, JupyterLab in Node as plain text. A page of another origin could do so too
# without asking first, but then its origin is in the request and refused.
_JSON_TYPES = frozenset({"", "application/json", "application/x-www-form-urlencoded", "text/json", "text/plain"})


@dataclass(frozen=True, kw_only=True)
class Edge:
    """What handlers need beside the services that they call."""

    access: Access
    cross_origin: CrossOriginHeaders
    metrics: GatewayMetrics
    base_url: str
    max_body_size: int


@stream_request_body
class JsonHandler(RequestHandler):
    """Base of all handlers that answer in JSON.

    The body is taken in pieces, so that a request without a valid token or with too large a body is answered before
    its body was read.
    """

    operations: ClassVar[Mapping[str, Operation]] = {}
    """Method in lower case to what it does; a method that isn't here is answered with 405."""
    identity: Identity = ANONYMOUS
    _admitted = False

    def initialize(self, *, edge: Edge) -> None:
        """Take what every handler needs; subclasses take their services."""
        self.edge = edge
        self._body = bytearray()

    # -------------------------------------------------------------------------------------------------- before a method

    def prepare(self) -> None:
        """Let only requests through that may come in; a preflight needs no token."""
        # Once more: tornado asks for them first before a handler has its services.
        self.set_default_headers()
        self._admit()
        self._admitted = True

    def _admit(self) -> None:
        method = (self.request.method or "").lower()
        if method == "options":
            return
        operation = self.operations.get("get" if method == "head" else method)
        if operation is None:
            return
        if method.upper() not in _SAFE_METHODS:
            self._check_origin()
        if not operation.public:
            self.identity = self.edge.access.authenticate(self.request)
            self.edge.access.authorize(self, self.identity, self.request)
        if operation.request is not None:
            self._check_content_type()
        self._check_length(self.request)

    def _check_origin(self) -> None:
        if not self.edge.access.origin_allowed(self.request.headers.get("Origin"), self.request):
            raise Forbidden("Pages of this origin may not change anything here.")

    def _check_content_type(self) -> None:
        declared = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if declared not in _JSON_TYPES and not declared.endswith("+json"):
            raise UnsupportedMediaType("The body must be JSON; declare it as application/json.")

    def _check_length(self, request: HTTPServerRequest) -> None:
        length = request.headers.get("Content-Length", "0")
        # Python refuses to read a number of thousands of digits.
        if length.isdecimal() and (len(length) > _LONGEST_NUMBER or int(length) > self.edge.max_body_size):
            raise self._too_large()

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"The body has more than the {self.edge.max_body_size} bytes that are accepted.")

    def data_received(self, chunk: bytes) -> None:
        """Collect the body up to the bound; one that goes beyond it is answered at once and forgotten."""
        self._body += chunk[: self.edge.max_body_size + 1 - len(self._body)]
        if len(self._body) > self.edge.max_body_size and not self._finished:
            # Raised here, tornado would close the connection without an answer.
            error = self._too_large()
            self._admitted = False
            self.send_error(int(error.status), exc_info=(type(error), error, None))

    def body_as(self, model: type[T]) -> T:
        """Return the body as the value that it must be; an empty body is an empty object.

        Raises
        ------
        BadRequest
            It isn't JSON or not of this shape.
        PayloadTooLarge
            It is longer than its sender had declared, or had declared nothing.
        """
        if len(self._body) > self.edge.max_body_size:
            raise self._too_large()
        try:
            return decode(bytes(self._body) or b"{}", model)
        except InvalidBody as error:
            end = "" if str(error).endswith("?") else "."
            raise BadRequest(f"The body doesn't have the right shape: {error}{end}") from error
        except RecursionError as error:
            raise BadRequest("The body is nested too deeply.") from error
        except ValueError as error:
            raise BadRequest("The body is not JSON.") from error

    # ------------------------------------------------------------------------------------------------------- answers

    def set_default_headers(self) -> None:
        """Set what every answer carries."""
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")
        request_id = self.request.headers.get("X-Request-ID", "")
        if _REQUEST_ID.fullmatch(request_id):
            self.set_header("X-Request-ID", request_id)
        edge: Edge | None = getattr(self, "edge", None)
        for name, value in edge.cross_origin.items() if edge else ():
            self.set_header(name, value)

    def write_json(self, value: object, status: int = HTTPStatus.OK) -> None:
        """Answer with a value."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(msgspec.json.encode(value))

    def options(self, *_: str, **__: str) -> None:
        """Answer a preflight: the configured headers, no token needed."""
        self.set_header("Allow", ", ".join(self._methods()))
        self.clear_header("Content-Type")
        self.set_status(HTTPStatus.OK)
        self.finish()

    def head(self, *arguments: str, **named: str) -> Any:  # noqa: ANN401  whatever get returns
        """Answer as to GET; tornado leaves the body out."""
        return self.get(*arguments, **named)

    def _methods(self) -> list[str]:
        methods = [method.upper() for method in self.operations]
        return [*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"]

    # --------------------------------------------------------------------------------------------------------- errors

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ANN401  tornado's signature
        """Answer with `reason` and `message`; never with a traceback."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        self.set_default_headers()
        if isinstance(error, GatewayError):
            status, reason, message = int(error.status), error.reason, error.message
        else:
            status, reason = status_code, HTTPStatus(status_code).phrase
            message = self._words_for(status)
        if not self._admitted:
            # Answered before its body was read, tornado closes the connection; a client that isn't told would send its
            # next request into it.
            self.set_header("Connection", "close")
        if status == HTTPStatus.UNAUTHORIZED:
            self.set_header("WWW-Authenticate", "Bearer")
        if isinstance(error, GatewayError) and error.retry_after is not None:
            self.set_header("Retry-After", str(max(1, math.ceil(error.retry_after))))
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(self._methods()))
        self.set_status(status, _status_line(reason))
        self.set_header("Content-Type", "application/json")
        self.finish(msgspec.json.encode({"reason": reason, "message": message}))

    def _words_for(self, status: int) -> str:
        """Return what is said of an error that tornado found."""
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            shown = " ".join(self._methods())
            return f"This path doesn't take the method; it takes {shown}. {self.where_the_api_is_described}"
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return "The gateway failed to answer this request; its log says why."
        # Tornado's own words may hold what the client sent.
        return f"The request can't be read: its path or a parameter isn't UTF-8. {self.where_the_api_is_described}"

    @property
    def logged_path(self) -> str:
        """The request's path as it may stand in a log."""
        return self.request.path

    @property
    def where_the_api_is_described(self) -> str:
        """A sentence for who is at the wrong path."""
        return f"GET {self.edge.base_url}api/openapi.json describes every path."

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:  # noqa: ANN401  tornado's signature
        """Log what an operator must know: failures of the gateway, not a client's mistakes."""
        fields = {"method": self.request.method, "path": self.logged_path}
        if isinstance(value, GatewayError | HTTPError):
            _log.debug("Request refused", extra={**fields, "cause": str(value)})
        else:
            _log.error("Request failed", exc_info=(typ, value, tb), extra=fields)


def _status_line(reason: str) -> str:
    """Return a reason that can stand in a status line."""
    return "".join(character if character.isascii() and character.isprintable() else "?" for character in reason)[:128]
