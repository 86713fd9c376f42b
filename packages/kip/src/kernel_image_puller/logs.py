"""Log lines of a constant message and named values, as text or as JSON.

logger.info("Pulled image", extra=fields(image=reference, seconds=3.2))
"""

import json
import logging
import sys
import time
from typing import Any

__all__ = ["configure_logging", "fields"]

_ATTRIBUTE = "kip_fields"


def fields(**values: object) -> dict[str, Any]:
    """Return the `extra` of a log call that carries named values; those that are `None` are left out."""
    return {_ATTRIBUTE: {name: value for name, value in values.items() if value is not None}}


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        values = getattr(record, _ATTRIBUTE, {})
        line = f"{_timestamp(record)} {record.levelname:<7} {record.getMessage()}"
        if values:
            line += " " + " ".join(f"{name}={_shown(value)}" for name, value in values.items())
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        document = {"time": _timestamp(record), "level": record.levelname.lower(), "message": record.getMessage()}
        document |= getattr(record, _ATTRIBUTE, {})
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


def configure_logging(*, level: str, json_lines: bool) -> None:
    """Send this program's log lines to standard error, one event a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if json_lines else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries at debug level print request headers, which hold tokens.
    root.setLevel(max(logging.getLevelNamesMapping()[level], logging.INFO))
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    logging.getLogger("kernel_image_puller").setLevel(level)


def _timestamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


def _shown(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    # A value with blanks or line ends can't pass for another field or another line.
    return text if text.isprintable() and " " not in text and '"' not in text and text else json.dumps(text)
