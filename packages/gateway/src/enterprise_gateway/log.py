"""How this process logs: one event a line, a constant message and its fields, as text or as JSON.

Fields are given by `extra`; which object a line is about stands in them (`kernel_id`, `user`, `kernelspec`). No field
ever holds a token, a key or a value of an environment.
"""

import json
import logging
import time
from typing import Any

__all__ = ["configure"]

# What a log record always has; anything else was given by `extra`.
_OWN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(*, level: int, style: str) -> None:
    """Log every event of this process to its standard error, from `level` on, in the style `text` or `json`.

    Libraries are heard from WARNING on unless `level` is DEBUG: their INFO lines say nothing to an operator.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter() if style == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level if level <= logging.DEBUG else max(level, logging.WARNING))
    logging.getLogger("enterprise_gateway").setLevel(level)
    if level > logging.DEBUG:
        logging.getLogger("jupyter_client").setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)
    # asyncio and the HTTP client tell at DEBUG what they do for every byte.
    for noisy in ("asyncio", "aiohttp", "urllib3"):
        logging.getLogger(noisy).setLevel(max(level, logging.INFO))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = {key: value for key, value in vars(record).items() if key not in _OWN_ATTRIBUTES and value is not None}
    if record.exc_info:
        fields["exception"] = logging.Formatter().formatException(record.exc_info)
    return fields


def _time(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


class _JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        return json.dumps(event, default=str)


class _TextFormatter(logging.Formatter):
    """Time, level, message and `name=value` for each field; whatever would break the line is escaped."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={self._shown(value)}" for name, value in _fields(record).items())
        return f"{_time(record)} {record.levelname:<7} {self._escaped(record.getMessage())}{fields}"

    @classmethod
    def _shown(cls, value: object) -> str:
        text = str(value)
        return json.dumps(text, ensure_ascii=False) if not text or not text.isprintable() or " " in text else text

    @staticmethod
    def _escaped(text: str) -> str:
        return text if text.isprintable() else text.encode("unicode_escape").decode()
