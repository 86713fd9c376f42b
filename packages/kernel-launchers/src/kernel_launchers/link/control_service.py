"""Answers on the control channel in the place of a kernel that doesn't."""

import json
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence

from enterprise_gateway_common.kernel_messages.error_replies import NO_REPLY, error_reply
from enterprise_gateway_common.kernel_messages.message_types import reply_type
from kernel_launchers.link.messages import Headers
from kernel_launchers.link.requests import Requests
from kernel_launchers.supervisor.usage import Usage

if TYPE_CHECKING:
    from kernel_launchers.link.storage import LogEntry

__all__ = ["ControlService"]

_UNKNOWN = "This kernel doesn't know requests of this kind."


class ControlService:
    """Knows what can be answered without the kernel.

    Parameters
    ----------
    requests
        Makes the answers.
    interrupt
        Interrupts the kernel.
    usage
        Returns what the kernel's container uses.
    """

    def __init__(self, *, requests: Requests, interrupt: Callable[[], None], usage: Callable[[], Usage]) -> None:
        self._requests = requests
        self._interrupt = interrupt
        self._usage = usage
        self._kernel_info: "Optional[Dict[str, Any]]" = None

    def seen(self, headers: Headers, content: bytes) -> None:
        """Take note of what the kernel says of itself on another channel."""
        if headers.msg_type == "kernel_info_reply":
            # It is the kernel's, which may send whatever it likes.
            with suppress(ValueError, RecursionError):
                info = json.loads(content)
                self._kernel_info = info if isinstance(info, dict) else None

    def answers(self, headers: Headers, parts: Sequence[bytes], *, session_id: str) -> "Optional[List[LogEntry]]":
        """Return the answer to a request, with the statuses around it; `None` for an order to end, which the kernel heeds."""
        kind = reply_type(headers.msg_type)
        if headers.msg_type == "shutdown_request":
            return None
        if kind is None:
            return []
        made, parent = self._requests.made, parts[0]
        return [
            made("iopub", "status", {"execution_state": "busy"}, parent=parent),
            made("control", kind, self._content(headers.msg_type), parent=parent, recipient=session_id),
            made("iopub", "status", {"execution_state": "idle"}, parent=parent),
        ]

    def _content(self, request_type: str) -> "Dict[str, Any]":
        if request_type == "interrupt_request":
            self._interrupt()
            return {"status": "ok"}
        if request_type == "kernel_info_request" and self._kernel_info is not None:
            return self._kernel_info
        if request_type == "usage_request":
            return _usage_content(self._usage())
        return error_reply("control", request_type, name=NO_REPLY, cause=_UNKNOWN).content


def _usage_content(usage: Usage) -> "Dict[str, Any]":
    """Return it as ipykernel words it; what it says of its machine is said of the container here."""
    content: Dict[str, Any] = {"hostname": socket.gethostname(), "pid": os.getpid(), "kernel_memory": usage.memory_bytes or 0}
    if usage.cpu_cores is not None:
        content["kernel_cpu"] = usage.cpu_cores * 100
    if usage.cpu_limit_cores is not None:
        content["cpu_count"] = usage.cpu_limit_cores
    if usage.memory_bytes is not None and usage.memory_limit_bytes:
        free = max(0, usage.memory_limit_bytes - usage.memory_bytes)
        content["host_virtual_memory"] = {
            "total": usage.memory_limit_bytes,
            "used": usage.memory_bytes,
            "available": free,
            "free": free,
            "percent": round(100 * usage.memory_bytes / usage.memory_limit_bytes, 1),
        }
    return content
