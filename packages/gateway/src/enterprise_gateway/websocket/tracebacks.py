"""Errors of user code without their details, for installations that must not show them."""

import json
from typing import Any

from jupyter_client.session import Session

from enterprise_gateway.links.hidden_errors import hidden_error
from enterprise_gateway.links.messages import KernelMessage, MalformedMessage

__all__ = ["hide_traceback"]

_TRACEBACK = b'"traceback"'


def hide_traceback(message: KernelMessage, *, session: Session, replacement: str) -> KernelMessage:
    """Return the message, its errors without their names, values and tracebacks; raises `MalformedMessage`.

    An error stands in output of its own, in the reply to the cell, and in the reply's results of user expressions. Those
    that the gateway made stay: they say why a kernel died.
    """
    if message.by_gateway:
        return message
    if message.channel == "iopub":
        if message.header.msg_type != "error":
            return message
        content: dict[str, Any] = hidden_error(replacement)
    elif _TRACEBACK in message.parts[3]:
        content = _hidden_reply(message.parts[3], hidden_error(replacement))
    else:
        return message
    parts = [*message.parts[:3], session.pack(content), *message.parts[4:]]
    return KernelMessage(message.channel, parts, recipient=message.recipient)


def _hidden_reply(part: bytes, hidden: dict[str, Any]) -> dict[str, Any]:
    try:
        content = json.loads(part)
    except (ValueError, RecursionError):
        raise MalformedMessage("a part is no JSON") from None
    if not isinstance(content, dict):
        raise MalformedMessage("a part is no JSON object")
    results = content.get("user_expressions")
    for place in (content, *(results.values() if isinstance(results, dict) else ())):
        if isinstance(place, dict) and "traceback" in place:
            place.update(hidden)
    return content
