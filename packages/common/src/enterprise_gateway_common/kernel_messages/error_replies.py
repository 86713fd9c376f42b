"""The answers that a request gets when its kernel can't give them, so that no client waits for ever."""

from typing import Any, Dict, List

from enterprise_gateway_common.kernel_messages.busy_requests import IDLE
from enterprise_gateway_common.kernel_messages.message_types import EXECUTE_REQUEST, reply_type
from enterprise_gateway_common.kernel_messages.open_requests import OpenRequest

__all__ = ["DEAD_KERNEL", "NO_REPLY", "Answer", "error_answers", "error_reply"]

DEAD_KERNEL = "DeadKernelError"
"""The error's name; nbclient has one of this name for the same thing."""

NO_REPLY = "NoReplyError"
"""The error's name where a kernel lives and doesn't answer."""


class Answer:
    """A message for the client whose request it answers.

    Parameters
    ----------
    channel, message_type, content
        Of the message; its parent header is the request's header.
    """

    __slots__ = ("channel", "content", "message_type")

    def __init__(self, channel: str, message_type: str, content: Dict[str, Any]) -> None:
        self.channel = channel
        self.message_type = message_type
        self.content = content


def error_answers(request: OpenRequest, *, name: str, cause: str) -> List[Answer]:
    """Return what an open request still lacks: the error as output of the cell that runs, the reply, and idle.

    Parameters
    ----------
    name, cause
        The error's name and the words for the user.
    """
    answers = []
    if not request.replied:
        # A cell that had not begun shows nothing: the cause stands below the one that ran.
        if request.began and not request.ended and request.request_type == EXECUTE_REQUEST:
            answers.append(Answer("iopub", "error", _error(name, cause)))
        answers.append(error_reply(request.channel, request.request_type, name=name, cause=cause))
    if not request.ended:
        answers.append(Answer("iopub", "status", {"execution_state": IDLE}))
    return answers


def error_reply(channel: str, request_type: str, *, name: str, cause: str) -> Answer:
    """Return a reply that says why there is no other."""
    content: Dict[str, Any] = {"status": "error", **_error(name, cause)}
    if request_type == EXECUTE_REQUEST:
        content.update({"execution_count": None, "payload": [], "user_expressions": {}})
    return Answer(channel, reply_type(request_type) or "error", content)


def _error(name: str, cause: str) -> Dict[str, Any]:
    return {"ename": name, "evalue": cause, "traceback": [f"{name}: {cause}"]}
