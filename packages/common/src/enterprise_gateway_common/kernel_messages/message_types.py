"""Which types of messages are work for a kernel, which are use of it, and what answers them."""

from typing import Optional

__all__ = ["EXECUTE_REQUEST", "is_activity", "is_output_activity", "is_work", "reply_type"]

EXECUTE_REQUEST = "execute_request"

_REQUEST, _REPLY = "_request", "_reply"

# Clients repeat these by themselves, with nobody at work: on every connect, or every few seconds. Answering takes a kernel
# milliseconds and runs none of the user's code. A debugger's requests belong here as well: what they debug is a cell, and
# that is an open request of its own.
_POLLS = frozenset(
    {
        "comm_info",
        "connect",
        "create_subshell",
        "debug",
        "delete_subshell",
        "history",
        "interrupt",
        "kernel_info",
        "list_subshell",
        "shutdown",
        "usage",
    }
)

# Use of a kernel's language, by a person or a program. A list of what counts, not of what doesn't: a poll that somebody
# invents tomorrow must not keep every kernel alive.
_USES = frozenset(
    {
        "comm_close",
        "comm_msg",
        "comm_open",
        "complete_request",
        EXECUTE_REQUEST,
        "input_reply",
        "inspect_request",
        "is_complete_request",
    }
)

# Says what the kernel does with a request, or greets a subscriber; the request itself decides whether it is use.
_BOOKKEEPING = frozenset({"status", "iopub_welcome"})


def is_work(request_type: str) -> bool:
    """Tell whether a kernel that handles such a request is busy; one of unknown type, or of none, is work."""
    return _without_suffix(request_type) not in _POLLS


def is_activity(message_type: str) -> bool:
    """Tell whether a client that sends such a message uses the kernel."""
    return message_type in _USES


def is_output_activity(message_type: str, request_type: str) -> bool:
    """Tell whether a kernel that publishes such a message is in use.

    Parameters
    ----------
    message_type
        Type of the published message.
    request_type
        Type of the request that caused it; empty where it names none, as with output of a thread or another process.
    """
    if _without_suffix(message_type) in _POLLS:
        return False
    if message_type in _BOOKKEEPING:
        return is_activity(request_type)
    return is_activity(request_type) or not request_type


def reply_type(request_type: str) -> Optional[str]:
    """Return the type of the reply that ends a request; `None` where a message of this type gets no reply."""
    if not request_type.endswith(_REQUEST):
        return None
    return _without_suffix(request_type) + _REPLY


def _without_suffix(message_type: str) -> str:
    for suffix in (_REQUEST, _REPLY):
        if message_type.endswith(suffix):
            return message_type[: -len(suffix)]
    return message_type
