"""How much a client may send, and how many may come."""

from dataclasses import dataclass

from enterprise_gateway_common.environment import integer, number, setting

__all__ = ["BoundSettings"]

_BOUNDS = "Bounds on requests"
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class BoundSettings:
    """How much a client may send, and how many may come."""

    max_body_size: int = setting(
        _MEBIBYTE,
        integer(1024),
        environment=("EG_MAX_BODY_SIZE",),
        group=_BOUNDS,
        help="The most bytes of a request's body; a larger one is answered with 413.",
    )
    max_http_connections: int = setting(
        2048,
        integer(16),
        environment=("EG_MAX_HTTP_CONNECTIONS",),
        group=_BOUNDS,
        help="The most connections of clients at one time, websockets aside; one more is closed at once. So many of the "
        "process' file descriptors, or a quarter of them where that is less, are never given to kernels and websockets.",
    )
    max_header_size: int = setting(
        32 * 1024,
        integer(1024),
        environment=("EG_MAX_HEADER_SIZE",),
        group=_BOUNDS,
        help="The most bytes of a request's headers.",
    )
    request_timeout: float = setting(
        30.0,
        number(1),
        environment=("EG_REQUEST_TIMEOUT",),
        group=_BOUNDS,
        help="Seconds within which a request's body must have arrived.",
    )
    idle_connection_timeout: float = setting(
        75.0,
        number(1),
        environment=("EG_IDLE_CONNECTION_TIMEOUT",),
        group=_BOUNDS,
        help="Seconds after which a connection without a complete request is closed.",
    )
    max_env_count: int = setting(
        128,
        integer(0),
        environment=("EG_MAX_ENV_COUNT",),
        group=_BOUNDS,
        help="The most environment variables in one request.",
    )
    max_env_value_size: int = setting(
        64 * 1024,
        integer(0),
        environment=("EG_MAX_ENV_VALUE_SIZE",),
        group=_BOUNDS,
        help="The most bytes of one environment variable's value in a request.",
    )
    max_env_size: int = setting(
        256 * 1024,
        integer(0),
        environment=("EG_MAX_ENV_SIZE",),
        group=_BOUNDS,
        help="The most bytes of all environment variables in one request.",
    )
    max_sessions: int = setting(
        10_000,
        integer(1),
        environment=("EG_MAX_SESSIONS",),
        group=_BOUNDS,
        help="The most sessions (POST /api/sessions) that are kept at one time.",
    )
    max_websockets: int = setting(
        10_000,
        integer(1),
        environment=("EG_MAX_WEBSOCKETS",),
        group=_BOUNDS,
        help="The most websockets at one time; one more is answered with 503.",
    )
    proxy_connections: int = setting(
        64,
        integer(0),
        environment=("EG_PROXY_CONNECTIONS",),
        group=_BOUNDS,
        help="The most connections at one time to the ports of one kernel (`/api/kernels/{kernel_id}/proxy/…`), websockets among "
        "them; one more is answered with 503. 0 allows none to any.",
    )
    proxy_timeout: float = setting(
        60.0,
        number(1),
        environment=("EG_PROXY_TIMEOUT",),
        group=_BOUNDS,
        help="Seconds within which a port of a kernel must begin to answer, and then go on with its answer; websockets may be "
        "silent.",
    )
