"""`GET /api/kernels/{kernel_id}/channels`: admits a client, upgrades the request, and hands over to a `Connection`."""

import asyncio
import logging
import math
import uuid
from typing import Any, cast

from tornado.web import HTTPError
from tornado.websocket import WebSocketHandler, WebSocketProtocol, WebSocketProtocol13

from enterprise_gateway.errors import BadRequest, Forbidden, GatewayError, Unavailable
from enterprise_gateway.websocket.connection import Connection
from enterprise_gateway.websocket.connections import OpenConnections
from enterprise_gateway.websocket.kernel import ConnectedKernel, KernelDirectory, WebsocketAccess, WebsocketMetrics
from enterprise_gateway.websocket.options import V1_PROTOCOL, WebsocketOptions

__all__ = ["KernelWebsocketHandler"]

_log = logging.getLogger(__name__)

_TRY_AGAIN_LATER = 1013


class KernelWebsocketHandler(WebSocketHandler):
    """Refuses with a status and JSON before the upgrade; after it, only closes with a code."""

    def initialize(
        self,
        *,
        kernels: KernelDirectory,
        access: WebsocketAccess,
        options: WebsocketOptions,
        connections: OpenConnections,
        metrics: WebsocketMetrics,
    ) -> None:
        """Take over what the application was wired with."""
        self._kernels = kernels
        self._access = access
        self._options = options
        self._connections = connections
        self._metrics = metrics
        self._kernel: ConnectedKernel | None = None
        self._key = ("", "")
        self._connection: Connection | None = None

    # ----------------------------------------------------------------------------------------------------- the request

    async def get(self, kernel_id: str) -> None:
        """Upgrade to a websocket; answer with an error's status and words where that isn't possible."""
        try:
            self._kernel = await self._admit(kernel_id)
        except GatewayError as error:
            self._refuse(error)
            return
        await super().get(kernel_id)

    async def _admit(self, kernel_id: str) -> ConnectedKernel:
        identity = self._access.authenticate(self.request)
        self._access.authorize(self, identity, self.request)
        if not self._access.origin_allowed(self.request.headers.get("Origin"), self.request):
            raise Forbidden("Pages of this origin may not connect.")
        upgrades = self.request.headers.get("Upgrade", "").lower() == "websocket"
        kernel = await self._kernels.connected(kernel_id, identity, waits=upgrades)
        if not upgrades:
            raise BadRequest("This is a websocket: the request needs 'Upgrade: websocket'.")
        # A client without a session is never the same as another.
        self._key = (kernel.kernel_id, self.get_query_argument("session_id", "") or uuid.uuid4().hex)
        self._connections.admit(self._key)
        try:
            async with asyncio.timeout(self._options.kernel_info_timeout):
                await kernel.link.attach(self._key[1])
        except TimeoutError:
            seconds = self._options.kernel_info_timeout
            raise Unavailable(f"Kernel {kernel.kernel_id} did not answer within {seconds:g} s.") from None
        return kernel

    def _refuse(self, error: GatewayError) -> None:
        self.set_status(error.status, error.reason)
        if error.retry_after is not None:
            self.set_header("Retry-After", str(max(1, math.ceil(error.retry_after))))
        self.finish({"reason": error.reason, "message": error.message})

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ANN401 - tornado's signature
        """Answer with JSON, and without a traceback."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        # Tornado's own words may hold what the client sent.
        message = "The request can't be read: a parameter isn't UTF-8." if isinstance(error, HTTPError) else self._reason
        self.set_status(status_code)
        self.finish({"reason": self._reason, "message": message})

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:  # noqa: ANN401 - tornado's signature
        """Log a failure of the gateway; tornado's own line would hold the query, which may be a token."""
        fields = {"path": self.request.path}
        if isinstance(value, HTTPError):
            _log.debug("Request refused", extra={**fields, "cause": value.log_message})
        else:
            _log.error("Websocket failed", exc_info=(typ, value, tb), extra=fields)

    def check_origin(self, origin: str) -> bool:  # noqa: ARG002 - tornado's signature
        """Accept: a request comes here only after its origin was checked."""
        return True

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Return v1, or what the administrator prefers, where the client offers it."""
        preferred = V1_PROTOCOL if self._options.protocol is None else self._options.protocol
        return V1_PROTOCOL if preferred == V1_PROTOCOL and V1_PROTOCOL in subprotocols else None

    def get_compression_options(self) -> dict[str, Any] | None:
        """Return options of permessage-deflate, where it is on."""
        if not self._options.compression:
            return None
        return {"compression_level": self._options.compression_level, "mem_level": self._options.compression_memory_level}

    @property
    def max_message_size(self) -> int:
        """The most bytes of one message; a larger one closes the connection with 1009."""
        return self._options.max_message_bytes

    @property
    def ping_interval(self) -> float | None:
        """None of tornado's own: `Liveness` pings."""
        return None

    # --------------------------------------------------------------------------------------------------- the websocket

    async def open(self, *_: str) -> None:
        """Begin to carry messages."""
        stale = self._connections.get(self._key)
        if isinstance(stale, Connection):
            await stale.give_way()
        if self._kernel is None or self.ws_connection is None or self.ws_connection.is_closing():
            # The client went away meanwhile.
            return
        self.set_nodelay(True)
        try:
            # Once more: others came while the kernel started, and a websocket counts only from here on.
            self._connections.admit(self._key)
            self._connection = self._connect(self._kernel, self.ws_connection)
        except GatewayError as error:
            _log.warning("A websocket can't be served", extra={"kernel_id": self._kernel.kernel_id, "cause": error.message})
            self.close(_TRY_AGAIN_LATER, error.reason)

    def _connect(self, kernel: ConnectedKernel, protocol: WebSocketProtocol) -> Connection:
        return Connection(
            key=self._key,
            kernel=kernel,
            socket=self,
            stream=cast("WebSocketProtocol13", protocol).stream,
            subprotocol=self.selected_subprotocol,
            options=self._options,
            metrics=self._metrics,
            connections=self._connections,
        )

    def on_message(self, message: str | bytes) -> None:
        """Send a frame's message to the kernel."""
        if self._connection:
            self._connection.receive(message)

    def on_pong(self, data: bytes) -> None:  # noqa: ARG002 - tornado's signature
        """Note the sign of life."""
        if self._connection:
            self._connection.pong()

    def on_close(self) -> None:
        """Let what the client misses from now on wait for it."""
        if self._connection:
            self._connection.release()
            self._connection = None
