"""Errors of user code without their details, for installations that must not show them."""

from jupyter_client.session import Session

from enterprise_gateway.links.hidden_errors import hidden_error
from enterprise_gateway.links.messages import KernelMessage

__all__ = ["hide_traceback"]


def hide_traceback(message: KernelMessage, *, session: Session, replacement: str) -> KernelMessage:
    """Return the message, an error on iopub without its name, value and traceback; raises `MalformedMessage`."""
    if message.channel != "iopub" or message.header.msg_type != "error":
        return message
    content = session.pack(hidden_error(replacement))
    return KernelMessage("iopub", [*message.parts[:3], content, *message.parts[4:]])
