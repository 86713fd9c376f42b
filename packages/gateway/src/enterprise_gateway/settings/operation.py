"""Logs, metrics and changes while the gateway runs."""

from dataclasses import dataclass

from enterprise_gateway_common.environment import choice, integer, number, optional, setting

__all__ = ["OperationSettings"]

_OPERATION = "Operation"


@dataclass(frozen=True, kw_only=True)
class OperationSettings:
    """Logs, metrics and changes while the gateway runs."""

    log_style: str = setting(
        "text",
        choice("text", "json"),
        environment=("EG_LOG_STYLE",),
        group=_OPERATION,
        help="How log lines are written: text for people, json for machines, one event a line in both.",
    )
    health_port: int | None = setting(
        None,
        optional(integer(0, 65535)),
        environment=("EG_HEALTH_PORT",),
        group=_OPERATION,
        help="Port on which a thread of its own answers /livez, without TLS and without a token, however busy the gateway is, "
        "for liveness probes. Unset opens no such port; /livez is then answered in turn with everything else only.",
    )
    stall_limit: float = setting(
        60.0,
        number(1),
        environment=("EG_STALL_LIMIT",),
        group=_OPERATION,
        help="Seconds without a turn of the event loop after which /livez of the health port answers 503: the gateway is stuck "
        "then, and not only busy.",
    )
    dynamic_config_interval: int = setting(
        0,
        integer(0),
        environment=("EG_DYNAMIC_CONFIG_INTERVAL",),
        group=_OPERATION,
        help="Seconds between two looks at the configuration files, whose changed limits, users and culling times take effect "
        "without a restart; 0 never looks.",
    )
