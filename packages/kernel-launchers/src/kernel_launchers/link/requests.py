"""Clients' requests: each runs once, and each is answered, by the kernel or in its place."""

from collections import OrderedDict
from typing import Any, Dict, List, Optional

from enterprise_gateway_common.kernel_messages.error_replies import DEAD_KERNEL, NO_REPLY, error_answers
from enterprise_gateway_common.kernel_messages.message_types import EXECUTE_REQUEST
from enterprise_gateway_common.kernel_messages.open_requests import OpenRequest, OpenRequests
from enterprise_gateway_common.kernel_messages.request_ids import bounded_id
from enterprise_gateway_common.supervisor_protocol import NO_SESSION, REQUESTS
from kernel_launchers.link.messages import Headers, Signer
from kernel_launchers.link.storage import LogEntry

__all__ = ["Requests"]

_MOST_KNOWN = 8192
_MOST_CODE = 256 * 1024
_UNANSWERED = (
    "The kernel was done with this request and sent no reply: it was interrupted before it could, or doesn't know such requests."
)


class Requests:
    """Knows which messages were sent to the kernel, and which of them it still owes an answer.

    Parameters
    ----------
    signer
        Makes the answers in a dead kernel's place.
    """

    def __init__(self, *, signer: Signer) -> None:
        self._signer = signer
        self._known: "OrderedDict[str, None]" = OrderedDict()
        self._open = OpenRequests()

    def __len__(self) -> int:
        return len(self._open)

    def is_new(self, headers: Headers, *, session_id: str) -> bool:
        """Tell whether a session didn't send a message before, and remember it.

        A gateway that didn't hear that a message arrived sends it again; so does a client, by another gateway. Two clients
        that count their messages from 1 have nothing to do with each other.
        """
        key = bounded_id(f"{session_id} {headers.msg_id}")
        if key in self._known:
            return False
        self._known[key] = None
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return True

    def sent(self, channel: str, headers: Headers, parts: List[bytes], *, session_id: str) -> Optional[LogEntry]:
        """Take note of a message to the kernel; return what the log is to have of it, for who comes later."""
        request = OpenRequest(channel=channel, request_type=headers.msg_type, header=parts[0], session_id=session_id)
        self._open.sent(headers.msg_id, request)
        if headers.msg_type != EXECUTE_REQUEST:
            return None
        kept = [part if sum(map(len, parts)) <= _MOST_CODE else b"{}" for part in parts[1:4]]
        return LogEntry(REQUESTS, [parts[0], *kept], recipient=NO_SESSION, message_type=headers.msg_type)

    def recipient(self, headers: Headers) -> str:
        """Return the session that a reply or a request for input is for."""
        return self._open.session_of(headers.parent_id) or headers.parent_session

    def seen(self, channel: str, headers: Headers, content: bytes) -> bool:
        """Take note of what the kernel says of a request; tell whether it is done with it and one half of the answer lacks."""
        return self._open.seen(channel, headers.msg_type, request_id=headers.parent_id, content=content)

    def answer_all(self, cause: str) -> List[LogEntry]:
        """Return what every request that is open still lacks, and forget them: the kernel is gone."""
        return [entry for request in self._open.take_all() for entry in self._answers(request, name=DEAD_KERNEL, cause=cause)]

    def answer_the_rest(self, request_id: str) -> List[LogEntry]:
        """Return the half of the answer that the kernel still hasn't given to a request that it is done with, and forget it.

        Kernels leave requests without a reply that they don't know, and ipykernel the cell that an interrupt reaches before its
        code begins; IRkernel leaves those without an idle status that it aborts.
        """
        request = self._open.take_half_answered(request_id)
        return [] if request is None else self._answers(request, name=NO_REPLY, cause=_UNANSWERED)

    def _answers(self, request: OpenRequest, *, name: str, cause: str) -> List[LogEntry]:
        return [
            self.made(answer.channel, answer.message_type, answer.content, parent=request.header, recipient=request.session_id)
            for answer in error_answers(request, name=name, cause=cause)
        ]

    def made(
        self,
        channel: str,
        message_type: str,
        content: "Dict[str, Any]",
        *,
        parent: bytes = b"{}",
        recipient: Optional[str] = None,
    ) -> LogEntry:
        """Return a message of the supervisor's own; output is for all, a reply for one session."""
        return LogEntry(
            channel,
            self._signer.make(message_type, content, parent=parent),
            recipient=None if channel == "iopub" else recipient,
            message_type=message_type,
            by_supervisor=True,
        )
