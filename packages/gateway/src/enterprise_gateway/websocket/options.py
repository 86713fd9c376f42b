"""What an administrator can set about websockets."""

from dataclasses import dataclass

__all__ = ["V1_PROTOCOL", "WebsocketOptions"]

V1_PROTOCOL = "v1.kernel.websocket.jupyter.org"

_MEBIBYTE = 1 << 20
_SHORTEST_PONG_TIMEOUT = 30.0


@dataclass(frozen=True, kw_only=True)
class WebsocketOptions:
    """Every limit and choice of the websocket layer."""

    kernel_info_timeout: float = 60.0
    """Seconds that a client waits for a kernel's supervisor to tell where its session stands before its websocket is refused."""

    ping_interval: float = 30.0
    """Seconds between two pings; 0 sends none."""

    max_message_bytes: int = 100 * _MEBIBYTE
    """The most bytes of one message from a client."""

    max_connections: int = 0
    """The most websockets at one time; one more is refused with 503. 0 for no limit."""

    outbound_bytes: int = 2 * _MEBIBYTE
    """How many bytes may wait to be sent to a client before it falls behind in its kernel's log."""

    iopub_message_rate: float = 0.0
    """Messages a second of a kernel's output beyond which output is dropped with a notice; 0 for no limit."""

    iopub_data_rate: float = 0.0
    """Bytes a second of a kernel's stream output beyond which output is dropped with a notice; 0 for no limit."""

    rate_window: float = 3.0
    """Seconds over which the two rates are measured."""

    allowed_message_types: frozenset[str] = frozenset()
    """Types of messages that clients may send; all when empty."""

    allow_tracebacks: bool = True
    """Whether the tracebacks of a user's own errors reach the user."""

    traceback_replacement_message: str = "An exception occurred at runtime, which is not shown due to security reasons."
    """What stands in place of a traceback that isn't sent."""

    compression: bool = False
    """Whether permessage-deflate is offered; what a client sends is bounded by `max_message_bytes` after inflating."""

    compression_level: int = 1
    """zlib's level, where compression is on: beyond 1 it costs more time than it saves bytes."""

    compression_memory_level: int = 5
    """zlib's memory level, where compression is on; 5 takes some 50 KiB for a connection, zlib's own default 256."""

    protocol: str | None = None
    """Subprotocol to speak: `None` takes v1 where it is offered, the empty string never does."""

    @property
    def pong_timeout(self) -> float:
        """Seconds without any sign of life after which a client is taken for lost."""
        return max(3 * self.ping_interval, _SHORTEST_PONG_TIMEOUT)
