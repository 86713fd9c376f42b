"""What the websocket layer needs of the rest of the gateway, and nothing more.

The layer knows neither how kernels are started nor where they run; whoever does implements these protocols.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import zmq
from jupyter_client.session import Session
from tornado.httputil import HTTPServerRequest

__all__ = [
    "CHANNELS",
    "ChannelName",
    "Direction",
    "DropReason",
    "KernelChannels",
    "KernelDirectory",
    "KernelListener",
    "WebsocketAccess",
    "WebsocketMetrics",
]

ChannelName = Literal["shell", "control", "stdin", "iopub"]
CHANNELS: tuple[ChannelName, ...] = ("shell", "control", "stdin", "iopub")

Direction = Literal["to_kernel", "to_client"]
DropReason = Literal[
    "malformed_from_client",
    "malformed_from_kernel",
    "invalid_signature",
    "unknown_channel",
    "not_allowed",
    "kernel_gone",
    "rate_limit",
    "replay_full",
    "too_large_for_client",
]


class KernelListener(Protocol):
    """Who wants to be told what happens to a kernel; told in the event loop, must not block."""

    def kernel_restarting(self, reason: str | None) -> None:
        """Say that the kernel is being started again; `reason` where it had died."""

    def kernel_restarted(self) -> None:
        """Say that it answers again; `KernelChannels.generation` tells whether it is reached differently now."""

    def kernel_dead(self, reason: str | None) -> None:
        """Say that it has ended for good, deliberately or not."""


class KernelChannels(Protocol):
    """One running kernel, as far as carrying its messages needs it."""

    @property
    def kernel_id(self) -> str:
        """UUID of the kernel."""

    @property
    def session(self) -> Session:
        """Signs and checks messages with this kernel's key."""

    @property
    def curve(self) -> bool:
        """Whether CURVE authenticates the connection, so that signatures from the kernel add nothing."""

    @property
    def generation(self) -> int:
        """Grows whenever ports or keys changed."""

    @property
    def execution_state(self) -> str:
        """Return one of `starting`, `idle`, `busy`, `restarting`, `dead`."""

    def open_socket(self, channel: ChannelName, identity: bytes | None = None) -> zmq.Socket[bytes]:
        """Return a new plain socket, connected (iopub: subscribed to everything); the caller closes it."""

    async def wait_until_ready(self) -> None:
        """Return as soon as the kernel answers; raises `GatewayError` when it can't."""

    def add_listener(self, listener: KernelListener) -> Callable[[], None]:
        """Tell a listener of everything from now on; the function returned ends that."""

    def output_watched(self, watcher: object) -> None:
        """Note that a reader sees all output from now on and tells of it."""

    def output_seen(self, watcher: object, parts: Sequence[bytes]) -> None:
        """Take note of header, parent header, metadata and content of a message that such a reader saw and checked."""

    def output_unwatched(self, watcher: object) -> None:
        """Note that a reader doesn't see all output any more."""

    def client_connected(self) -> None:
        """Count a client that connected."""

    def client_disconnected(self) -> None:
        """Count a client that went away."""

    def reply_seen(self, request_id: str) -> None:
        """Take note that the kernel's reply to a request was read."""

    def client_message(self, message_type: str) -> None:
        """Note that a client sent a message of this type, which may be activity."""


class KernelDirectory(Protocol):
    """Finds kernels."""

    async def channels(self, kernel_id: str, identity: object) -> KernelChannels:
        """Return the kernel of this id; raises `KernelNotFound` where there is none that this caller may use."""


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

    def replay_bytes(self, change: int) -> None:
        """Add to the number of bytes that wait for clients which lost their connection."""

    def dropped(self, reason: DropReason) -> None:
        """Count a message that was not passed on."""
