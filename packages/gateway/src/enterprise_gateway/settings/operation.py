"""Logs, metrics and changes while the gateway runs."""

from dataclasses import dataclass

from enterprise_gateway_common.environment import choice, integer, setting

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
    dynamic_config_interval: int = setting(
        0,
        integer(0),
        environment=("EG_DYNAMIC_CONFIG_INTERVAL",),
        group=_OPERATION,
        help="Seconds between two looks at the configuration files, whose changed limits, users and culling times take effect "
        "without a restart; 0 never looks.",
    )
