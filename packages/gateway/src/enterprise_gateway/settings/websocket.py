"""How messages are carried, and what is kept of them."""

from dataclasses import dataclass

from enterprise_gateway_common.environment import boolean, choice, integer, number, optional, ordered_names, setting, text

__all__ = ["WebsocketSettings"]

_WEBSOCKET = "Websocket"
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class WebsocketSettings:
    """How messages are carried, and what is kept of them."""

    ws_ping_interval: int = setting(
        30,
        integer(0),
        environment=("EG_WS_PING_INTERVAL_SECS",),
        group=_WEBSOCKET,
        help="Seconds between two pings to a client; a client that answers none for three of them (and at least 30 s) is "
        "disconnected. 0 sends none.",
    )
    websocket_max_message_size: int = setting(
        100 * _MEBIBYTE,
        integer(1024),
        environment=("EG_WEBSOCKET_MAX_MESSAGE_SIZE",),
        group=_WEBSOCKET,
        help="The most bytes of one message from a client; a larger one closes its connection with code 1009.",
    )
    websocket_compression: bool = setting(
        False,
        boolean,
        environment=("EG_WEBSOCKET_COMPRESSION",),
        group=_WEBSOCKET,
        help="Offer permessage-deflate. It saves bytes on slow links and costs a multiple of a message's CPU time.",
    )
    websocket_outbound_bytes: int = setting(
        2 * _MEBIBYTE,
        integer(65536),
        environment=("EG_WEBSOCKET_OUTBOUND_BYTES",),
        group=_WEBSOCKET,
        help="How many bytes may wait to be sent to one client; beyond that it falls behind in the kernel's log, and when all "
        "clients of a kernel are behind by as much again, the gateway stops reading the kernel's output.",
    )
    kernel_ws_protocol: str | None = setting(
        None,
        optional(choice("legacy", "v1.kernel.websocket.jupyter.org")),
        environment=("EG_KERNEL_WS_PROTOCOL",),
        group=_WEBSOCKET,
        help="Websocket subprotocol to speak: unset takes v1.kernel.websocket.jupyter.org where the client offers it, "
        "`legacy` never does.",
    )
    replay_max_bytes: int = setting(
        16 * _MEBIBYTE,
        integer(0),
        environment=("EG_REPLAY_MAX_BYTES",),
        group=_WEBSOCKET,
        help="How many bytes of what a kernel says are kept for clients that lost their connection or read slowly.",
    )
    replay_max_messages: int = setting(
        10_000,
        integer(0),
        environment=("EG_REPLAY_MAX_MESSAGES",),
        group=_WEBSOCKET,
        help="How many messages of a kernel are kept for clients that lost their connection or read slowly.",
    )
    kernel_log_memory: int = setting(
        8 * _MEBIBYTE,
        integer(65536),
        environment=("EG_KERNEL_LOG_MEMORY",),
        group=_WEBSOCKET,
        help="How many bytes of what a kernel says its supervisor keeps in the pod's memory, for clients and gateways that come "
        "back.",
    )
    kernel_log_file: int = setting(
        64 * _MEBIBYTE,
        integer(0),
        environment=("EG_KERNEL_LOG_FILE",),
        group=_WEBSOCKET,
        help="How many bytes of older messages the supervisor keeps in a file of the pod, where one can be written; 0 for none.",
    )
    kernel_log_messages: int = setting(
        20_000,
        integer(100),
        environment=("EG_KERNEL_LOG_MESSAGES",),
        group=_WEBSOCKET,
        help="How many messages of a kernel its supervisor keeps.",
    )
    executions_max_count: int = setting(
        200,
        integer(0),
        environment=("EG_EXECUTIONS_MAX_COUNT",),
        group=_WEBSOCKET,
        help="How many executions of a kernel are kept for `/api/kernels/{kernel_id}/executions`; 0 records none.",
    )
    executions_max_bytes: int = setting(
        8 * _MEBIBYTE,
        integer(65536),
        environment=("EG_EXECUTIONS_MAX_BYTES",),
        group=_WEBSOCKET,
        help="How many bytes of a kernel's executions are kept, code and outputs together; the oldest outputs go first.",
    )
    iopub_msg_rate_limit: float = setting(
        0.0,
        number(0),
        environment=("EG_IOPUB_MSG_RATE_LIMIT",),
        group=_WEBSOCKET,
        help="Messages a second of one kernel's output beyond which output is dropped with a notice; 0 for no limit.",
    )
    iopub_data_rate_limit: float = setting(
        0.0,
        number(0),
        environment=("EG_IOPUB_DATA_RATE_LIMIT",),
        group=_WEBSOCKET,
        help="Bytes a second of one kernel's output beyond which output is dropped with a notice; 0 for no limit.",
    )
    rate_limit_window: float = setting(
        3.0,
        number(0.1),
        environment=("EG_RATE_LIMIT_WINDOW",),
        group=_WEBSOCKET,
        help="Seconds over which the two rates are measured.",
    )
    allowed_message_types: tuple[str, ...] = setting(
        (),
        ordered_names,
        environment=("EG_ALLOWED_MESSAGE_TYPES",),
        group=_WEBSOCKET,
        help="Types of messages that clients may send to kernels; all when empty.",
    )
    allow_tracebacks: bool = setting(
        True,
        boolean,
        environment=("EG_ALLOW_TRACEBACKS",),
        group=_WEBSOCKET,
        help="Send the tracebacks of a user's own errors to the user.",
    )
    traceback_replacement_message: str = setting(
        "An exception occurred at runtime, which is not shown due to security reasons.",
        text,
        environment=("EG_TRACEBACK_REPLACEMENT_MESSAGE",),
        group=_WEBSOCKET,
        help="What stands in place of a traceback that isn't sent.",
    )
