"""What the websocket layer needs of the rest of the gateway, and nothing more.

The layer knows neither how kernels are started nor where they run; whoever does implements these protocols.
"""

from typing import Any, Literal, Protocol

from tornado.httputil import HTTPServerRequest

from enterprise_gateway.links.link import KernelLink
from enterprise_gateway.links.sockets import ChannelName

__all__ = ["ConnectedKernel", "Direction", "DropReason", "KernelDirectory", "WebsocketAccess", "WebsocketMetrics"]

Direction = Literal["to_kernel", "to_client"]
DropReason = Literal[
    "malformed_from_client",
    "malformed_from_kernel",
    "unknown_channel",
    "not_allowed",
    "kernel_gone",
    "rate_limit",
    "waiting_full",
]


class ConnectedKernel(Protocol):
    """One kernel, as far as carrying its messages needs it."""

    @property
    def kernel_id(self) -> str:
        """UUID of the kernel."""

    @property
    def link(self) -> KernelLink:
        """The gateway's connection to it."""

    def client_connected(self) -> None:
        """Count a client that connected."""

    def client_disconnected(self) -> None:
        """Count a client that went away."""

    def client_message(self, message_type: str) -> None:
        """Note that a client sent a message of this type, which may be activity."""


class KernelDirectory(Protocol):
    """Finds kernels."""

    async def connected(self, kernel_id: str, identity: object, *, waits: bool) -> ConnectedKernel:
        """Return the kernel of this id, whatever it does now.

        Raises `KernelNotFound` where there is none that this caller may use.

        Parameters
        ----------
        waits
            Whether to wait for a while where nobody can tell yet which kernels there are.
        """


class WebsocketAccess(Protocol):
    """Decides who may open a websocket."""

    def authenticate(self, request: HTTPServerRequest) -> Any:  # noqa: ANN401  what it means is the directory's business
        """Return who is asking; raises `GatewayError` for someone unknown."""

    def authorize(self, handler: object, identity: Any, request: HTTPServerRequest) -> None:  # noqa: ANN401  as above
        """Return where the administrator's own decision lets the request through; else raises `GatewayError`."""

    def origin_allowed(self, origin: str | None, request: HTTPServerRequest) -> bool:
        """Tell whether a page of this origin may connect; `None` for a client that is no browser."""


class WebsocketMetrics(Protocol):
    """Counts what happens on all websockets."""

    def connection_opened(self) -> None:
        """Count a websocket that was opened."""

    def connection_closed(self) -> None:
        """Count a websocket that was closed."""

    def message(self, direction: Direction, channel: ChannelName) -> None:
        """Count a message that was passed on."""

    def dropped(self, reason: DropReason) -> None:
        """Count a message that was not passed on."""
