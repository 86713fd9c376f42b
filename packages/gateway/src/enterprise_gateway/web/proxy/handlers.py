"""/api/kernels/{kernel_id}/proxy/{port}/…: what a kernel serves at a port of its pod, for programs and for browsers."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from tornado.httputil import HTTPHeaders
from tornado.iostream import StreamClosedError
from tornado.web import Finish

from enterprise_gateway.errors import Forbidden, PortUnreachable, Unauthenticated
from enterprise_gateway.identity import Identity
from enterprise_gateway.kernels.ports import KernelPort, KernelPorts
from enterprise_gateway.web.base import Edge
from enterprise_gateway.web.kernels import StartingHandler
from enterprise_gateway.web.models import ErrorModel
from enterprise_gateway.web.operations import Operation
from enterprise_gateway.web.proxy.addresses import KernelTarget, host_and_port, kernel_target, page_prefix, proxy_prefix
from enterprise_gateway.web.proxy.documents import Document, document_headers, is_document
from enterprise_gateway.web.proxy.exchange import BrokenOff, ExchangeOptions, PortRequest, Upgraded, exchange
from enterprise_gateway.web.proxy.headers import ForeignRedirect, Forwarding, answer_headers, request_headers
from enterprise_gateway.web.proxy.places import Places
from enterprise_gateway.web.proxy.tickets import Tickets, Visit
from enterprise_gateway.web.proxy.tunnel import Tunnel

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1Connection

__all__ = ["PageHandler", "PortProxy", "ProxyHandler", "Websockets"]

_TAG = "ports"
_RESPONSES = {200: None, **dict.fromkeys((401, 403, 404, 413, 501, 502, 503, 504), ErrorModel)}
_METHODS = ("get", "post", "put", "patch", "delete")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_SEE_OTHER, _SAME_METHOD = 303, 307
# api, kernels, the id, proxy, the port; and the ticket.
_SEGMENTS, _SEGMENTS_OF_A_PAGE = 5, 6


class Websockets(Protocol):
    """All websockets of this process, of which there may be so many."""

    def admit(self, key: tuple[str, str]) -> None:
        """Raise `Unavailable` unless there may be one more."""

    def add(self, key: tuple[str, str], connection: Tunnel) -> object:
        """Count one, and close it when the gateway ends."""

    def remove(self, key: tuple[str, str], connection: Tunnel) -> None:
        """Count one less."""


@dataclass(frozen=True, kw_only=True)
class PortProxy:
    """What reaches kernels' ports."""

    ports: KernelPorts
    places: Places
    tickets: Tickets
    websockets: Websockets
    check_room: Callable[[], None]
    """Raises `Unavailable` where this process can't have one more connection."""
    options: ExchangeOptions


def _operations(*, public: bool) -> dict[str, Operation]:
    return {
        method: Operation(
            summary="Ask what a kernel serves at a port of its pod; it answers itself, with any status and content",
            responses=_RESPONSES if method != "get" else {**_RESPONSES, 303: None, 307: None},
            tag=_TAG,
            public=public,
            content_type="*/*",
        )
        for method in _METHODS
    }


class _PortHandler(StartingHandler):
    """Passes a request on, and the answer back."""

    def initialize(self, *, edge: Edge, proxy: PortProxy) -> None:  # type: ignore[override]  # each handler names its services
        super().initialize(edge=edge)
        self._proxy = proxy

    @property
    def _upgrade(self) -> bool:
        return self.request.method == "GET" and self.request.headers.get("Upgrade", "").lower() == "websocket"

    def _check_kind(self) -> None:
        if self.request.headers.get("Service-Worker"):
            raise Forbidden("A page of a kernel may not install a service worker on the gateway's address.")

    def compute_etag(self) -> None:
        """Leave ETags to who made the content."""

    def _redirect(self, location: str, status: int) -> None:
        self.set_status(status)
        self.clear_header("Content-Type")
        self.set_header("Location", location)
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        self.finish()

    async def _pass_on(self, port: KernelPort, *, prefix: str, target: KernelTarget) -> None:
        if target.lacks_slash:
            self._redirect(prefix + target.text, _SAME_METHOD)
            return
        if len(self._body) > self.edge.max_body_size:
            raise self._too_large()
        self._forwarding = Forwarding(
            kernel=host_and_port(port.address, port.port), client=self.request.host, scheme=self.request.protocol, prefix=prefix
        )
        key = port.kernel_id, uuid.uuid4().hex
        with self._proxy.places.place(port.kernel_id):
            if self._upgrade:
                self._proxy.websockets.admit(key)
            else:
                self._proxy.check_room()
            upgraded = await self.until_client_leaves(self._exchanged(port, self._request(target.text)))
            if upgraded is not None:
                await self._carry(upgraded, key)

    def _request(self, target: str) -> PortRequest:
        headers = request_headers(self.request.headers, self._forwarding, upgrade=self._upgrade)
        body, method = bytes(self._body), self.request.method or ""
        if body or method in _WITH_BODY:
            headers["Content-Length"] = str(len(body))
        return PortRequest(method, target, headers, body)

    async def _exchanged(self, port: KernelPort, request: PortRequest) -> Upgraded | None:
        try:
            return await exchange(port, request, receiver=self, options=self._proxy.options)
        except ForeignRedirect as error:
            raise PortUnreachable(
                f"Port {port.port} of kernel {port.kernel_id} sends its client to another address, which is not passed on."
            ) from error
        except BrokenOff:
            # An end as of a whole answer would be a lie.
            cast("HTTP1Connection", self.request.connection).close()
            raise Finish from None
        except StreamClosedError:
            # The client went away, which is its right.
            raise Finish from None

    async def begin(self, status: int, headers: HTTPHeaders) -> None:
        """Send status and headers."""
        passed = answer_headers(headers, self._forwarding)
        self.set_status(status)
        self.clear_header("Content-Type")
        for name, value in passed:
            self.add_header(name, value)
        await self.flush()

    async def take(self, piece: bytes) -> None:
        """Send a piece of the body."""
        self.write(piece)
        await self.flush()

    async def _carry(self, upgraded: Upgraded, key: tuple[str, str]) -> None:
        self.set_status(101)
        for name, value in answer_headers(upgraded.headers, self._forwarding, upgrade=True):
            self.add_header(name, value)
        self.finish()
        tunnel = Tunnel(client=self.detach(), kernel=upgraded.stream)
        self._proxy.websockets.add(key, tunnel)
        try:
            await tunnel.carry()
        finally:
            self._proxy.websockets.remove(key, tunnel)


class ProxyHandler(_PortHandler):
    """A port of a kernel, for who has a token. A browser is sent to an address that holds a ticket in its place."""

    operations: ClassVar = _operations(public=False)

    async def get(self, kernel_id: str, port: str, path: str = "") -> None:  # noqa: ARG002  taken from the target, where nothing is decoded
        """Pass a request on."""
        self._check_kind()
        if self._upgrade and not self.edge.access.origin_allowed(self.request.headers.get("Origin"), self.request):
            raise Forbidden("Pages of this origin may not connect.")
        found = await self._proxy.ports.reach(kernel_id, port, self.identity)
        target = kernel_target(self.request.uri or "", base_url=self.edge.base_url, skipped=_SEGMENTS)
        if self._is_a_browser:
            visit = Visit(kernel_id=found.kernel_id, port=found.port, user=self.identity.user)
            ticket = self._proxy.tickets.issue(visit, found.secret)
            prefix = page_prefix(self.edge.base_url, found.kernel_id, found.port, ticket)
            self._redirect(prefix + target.text, _SEE_OTHER)
            return
        await self._pass_on(found, prefix=proxy_prefix(self.edge.base_url, found.kernel_id, found.port), target=target)

    post = put = patch = delete = get

    @property
    def _is_a_browser(self) -> bool:
        """Whether it is one that shows a page, whose scripts can read the page's address and so a token in it."""
        if self.request.method not in {"GET", "HEAD"} or self._upgrade:
            return False
        return "token" in self.request.query_arguments or "text/html" in self.request.headers.get("Accept", "")


class PageHandler(_PortHandler):
    """A port of a kernel, for who has its ticket in the address."""

    operations: ClassVar = _operations(public=True)
    _document: Document | None = None

    def set_default_headers(self) -> None:
        """Let the pages of kernels, whose origin is nobody's, read what has the ticket in its address; no other origin may."""
        super().set_default_headers()
        for name in [name for name, _ in self._headers.get_all() if name.startswith("Access-Control-")]:
            self.clear_header(name)
        self.set_header("Vary", "Origin")
        if self.request.headers.get("Origin") == "null":
            self.set_header("Access-Control-Allow-Origin", "null")
            self.set_header("Access-Control-Allow-Credentials", "true")

    def options(self, *_: str, **__: str) -> None:
        """Answer a page's preflight."""
        self.set_header("Access-Control-Allow-Methods", ", ".join(self._methods()))
        self.set_header("Access-Control-Allow-Headers", self.request.headers.get("Access-Control-Request-Headers", ""))
        super().options()

    def _check_origin(self) -> None:
        """Accept: who knows the ticket was let in, whoever wrote the page."""

    @property
    def logged_path(self) -> str:
        """The path without what lets its reader in."""
        parts = self.request.path.split("/")
        place = self.edge.base_url.count("/") + _SEGMENTS
        return "/".join(["…" if number == place else part for number, part in enumerate(parts)])

    def _admit(self) -> None:
        super()._admit()
        if self.request.method != "OPTIONS":
            self.identity = self._visitor(**{name: self.path_kwargs[name] for name in ("kernel_id", "port", "ticket")})
            self.edge.access.authorize(self, self.identity, self.request)

    def _visitor(self, kernel_id: str, port: str, ticket: str) -> Identity:
        known = self._proxy.ports.secret_of(kernel_id)
        if known is not None and port.isascii() and port.isdecimal():
            kernel, secret = known
            visit = self._proxy.tickets.check(
                ticket, kernel_id=kernel.kernel_id, port=int(port), owner=kernel.user, secret=secret
            )
            if visit is not None and self.edge.access.knows(visit.user):
                return Identity(visit.user)
        raise Unauthenticated(
            "The address of this page is no longer good: open …/proxy/PORT/ of the kernel with your token again."
        )

    async def get(self, kernel_id: str, port: str, ticket: str, path: str = "") -> None:  # noqa: ARG002  as above
        """Pass a request on."""
        self._check_kind()
        found = await self._proxy.ports.reach(kernel_id, port, self.identity)
        target = kernel_target(self.request.uri or "", base_url=self.edge.base_url, skipped=_SEGMENTS_OF_A_PAGE)
        await self._pass_on(found, prefix=page_prefix(self.edge.base_url, found.kernel_id, found.port, ticket), target=target)

    def _request(self, target: str) -> PortRequest:
        asked = super()._request(target)
        if "text/html" in asked.headers.get("Accept", ""):
            # A page is read on its way.
            asked.headers.pop("Accept-Encoding", None)
        return asked

    async def _exchanged(self, port: KernelPort, request: PortRequest) -> Upgraded | None:
        upgraded = await super()._exchanged(port, request)
        if self._document is not None:
            await super().take(self._document.end())
        return upgraded

    async def begin(self, status: int, headers: HTTPHeaders) -> None:
        """Send status and headers."""
        if self.request.method == "GET" and is_document(status, headers):
            self._document, headers = Document(), document_headers(headers)
        await super().begin(status, headers)

    async def take(self, piece: bytes) -> None:
        """Send a piece of the body."""
        await super().take(piece if self._document is None else self._document.take(piece))

    post = put = patch = delete = get
