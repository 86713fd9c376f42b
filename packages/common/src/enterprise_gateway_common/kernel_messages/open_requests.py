"""Which requests a kernel still owes an answer, so that each gets one although the kernel dies."""

import json
from collections import OrderedDict
from typing import List, Optional

from enterprise_gateway_common.kernel_messages.message_types import EXECUTE_REQUEST, reply_type
from enterprise_gateway_common.kernel_messages.request_ids import bounded_id

__all__ = ["OpenRequest", "OpenRequests"]

_MOST_REQUESTS = 4096
_MOST_BYTES = 4 << 20
_LONGEST_ABORTED = 512


class OpenRequest:
    """One request that isn't answered in full.

    Parameters
    ----------
    channel
        Where its reply belongs.
    request_type
        The type of its message.
    header
        Its header as JSON, which becomes its answers' parent header.
    session_id
        The client's session that it came from.
    """

    __slots__ = ("began", "channel", "ended", "header", "replied", "request_type", "session_id")

    def __init__(self, *, channel: str, request_type: str, header: bytes, session_id: str = "") -> None:
        self.channel = channel
        self.request_type = request_type
        self.header = header
        self.session_id = session_id
        self.began = False
        """Whether the kernel said that it works on it."""
        self.replied = False
        self.ended = False
        """Whether the kernel said that it is done with it."""


class OpenRequests:
    """Remembers requests from the moment they are sent until their reply and their idle status were seen.

    Messages that get no reply aren't remembered. The bounds hold whatever clients send: beyond them the oldest request is
    forgotten, and so goes without an answer if the kernel dies.

    Parameters
    ----------
    most, most_bytes
        Number of requests, and bytes of all their headers.
    """

    def __init__(self, *, most: int = _MOST_REQUESTS, most_bytes: int = _MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._requests: "OrderedDict[str, OpenRequest]" = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._requests)

    def sent(self, request_id: str, request: OpenRequest) -> None:
        """Remember a request; an id that is open already stands for the new one."""
        if reply_type(request.request_type) is None:
            return
        key = bounded_id(request_id)
        self._remove(key)
        self._requests[key] = request
        self._bytes += len(request.header)
        while self._requests and (len(self._requests) > self._most or self._bytes > self._most_bytes):
            self._remove(next(iter(self._requests)))

    def session_of(self, request_id: str) -> Optional[str]:
        """Return the session that an open request came from."""
        request = self._find(request_id)
        return None if request is None else request.session_id

    def began(self, request_id: str) -> None:
        """Take note that the kernel works on a request."""
        request = self._find(request_id)
        if request is not None:
            request.began = True

    def replied(self, request_id: str) -> None:
        """Take note of a reply."""
        request = self._find(request_id)
        if request is not None:
            request.replied = True
            self._forget_answered(request_id, request)

    def ended(self, request_id: str) -> None:
        """Take note of the idle status of a request; it comes by another channel than the reply, so before or after it."""
        request = self._find(request_id)
        if request is not None:
            request.ended = True
            self._forget_answered(request_id, request)

    def take_half_answered(self, request_id: str) -> Optional[OpenRequest]:
        """Return a request of which only the reply or only the idle status was seen, and forget it."""
        request = self._find(request_id)
        if request is None or request.replied == request.ended:
            return None
        self._remove(bounded_id(request_id))
        return request

    def seen(self, channel: str, message_type: str, *, request_id: str, content: bytes) -> bool:
        """Take note of what a message of the kernel says of a request; tell whether that was the end of it but for one half.

        The reply may come after the idle status. The idle status comes behind all output, however long that takes, but for a
        request that was aborted, which has none.

        Parameters
        ----------
        channel, message_type, content
            Of the message.
        request_id
            Of its parent header.
        """
        if channel in {"shell", "control"}:
            self.replied(request_id)
            return _was_aborted(content) and self._find(request_id) is not None
        if channel == "iopub" and message_type == "status":
            if b'"busy"' in content:
                self.began(request_id)
            elif b'"idle"' in content:
                self.ended(request_id)
                return self._find(request_id) is not None
        return False

    def take_all(self) -> List[OpenRequest]:
        """Return all open requests in the order in which they were sent, and forget them.

        A kernel that dies may take the news with it that it had begun with a cell; it is the first one that has no answer.
        """
        requests = list(self._requests.values())
        cells = [request for request in requests if request.request_type == EXECUTE_REQUEST and not request.replied]
        if cells and not any(cell.began for cell in cells):
            cells[0].began = True
        self._requests.clear()
        self._bytes = 0
        return requests

    def _find(self, request_id: str) -> Optional[OpenRequest]:
        return self._requests.get(bounded_id(request_id)) if self._requests else None

    def _forget_answered(self, request_id: str, request: OpenRequest) -> None:
        if request.replied and request.ended:
            self._remove(bounded_id(request_id))

    def _remove(self, key: str) -> None:
        request = self._requests.pop(key, None)
        if request is not None:
            self._bytes -= len(request.header)


def _was_aborted(content: bytes) -> bool:
    # The reply of a request that ran may be of any size; this one is not.
    if len(content) >= _LONGEST_ABORTED or b'"abort' not in content:
        return False
    try:
        reply = json.loads(content)
    except ValueError:
        return False
    # IRkernel's word is "abort", as it once was called.
    return isinstance(reply, dict) and reply.get("status") in {"abort", "aborted"}
