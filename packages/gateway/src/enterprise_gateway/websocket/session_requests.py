"""What a session asked of its kernel and has no answer to, so that it gets one although the kernel dies."""

from collections.abc import Sequence
from typing import NamedTuple

from jupyter_client.session import Session

from enterprise_gateway.websocket.kernel import ChannelName
from enterprise_gateway.websocket.messages import Header, KernelMessage, MalformedMessage, decode_header
from enterprise_gateway_common.kernel_messages.error_replies import DEAD_KERNEL, Answer, error_answers
from enterprise_gateway_common.kernel_messages.open_requests import OpenRequest, OpenRequests

__all__ = ["HeldMessage", "KernelDoesNotRead", "SessionRequests", "as_message"]

# What a message costs beside its bytes, so that many empty ones are bounded as well.
_OVERHEAD_BYTES = 1024


class KernelDoesNotRead(Exception):
    """So much waits to be sent to the kernel that a client may not add to it."""


class HeldMessage(NamedTuple):
    """A client's message that waits for its kernel to be there again."""

    channel: ChannelName
    header: Header
    raw_header: bytes
    """As the client sent it: the parent header of every answer."""
    parts: Sequence[bytes]
    """As the kernel takes them."""


class SessionRequests:
    """Remembers requests until they are answered, and holds those that come while the kernel is being restarted.

    Parameters
    ----------
    most_held_bytes
        The most that is held.
    """

    def __init__(self, *, most_held_bytes: int) -> None:
        self._most_held_bytes = most_held_bytes
        self._open = OpenRequests()
        self._held: list[HeldMessage] = []
        self._held_bytes = 0

    def sent(self, message: HeldMessage) -> None:
        """Remember a request that goes to the kernel."""
        request = OpenRequest(channel=message.channel, request_type=message.header.msg_type, header=message.raw_header)
        self._open.sent(message.header.msg_id, request)

    def hold(self, message: HeldMessage) -> None:
        """Keep a message for the kernel that is to come; raises `KernelDoesNotRead` where too much is kept."""
        size = _OVERHEAD_BYTES + sum(map(len, message.parts))
        if self._held_bytes + size > self._most_held_bytes:
            raise KernelDoesNotRead
        self._held.append(message)
        self._held_bytes += size

    def release(self) -> list[HeldMessage]:
        """Return what was held, in order, and hold it no longer."""
        held, self._held, self._held_bytes = self._held, [], 0
        return held

    def seen(self, channel: ChannelName, parts: Sequence[bytes]) -> str | None:
        """Take note of a message from the kernel; return the id of the request where it is a reply."""
        is_status = channel == "iopub" and b'"status"' in parts[0]
        if not (is_status or channel in {"shell", "control"}):
            return None
        try:
            request_id = decode_header(parts[1]).msg_id
        except MalformedMessage:
            # It answers nothing that anybody asked.
            return None
        if not is_status:
            self._open.replied(request_id)
            return request_id
        if b'"busy"' in parts[3]:
            self._open.began(request_id)
        elif b'"idle"' in parts[3]:
            self._open.ended(request_id)
        return None

    def answer_all(self, cause: str, session: Session) -> list[KernelMessage]:
        """Return what every request that is open still lacks, and forget them.

        Parameters
        ----------
        cause
            Why the kernel won't answer, for its user.
        session
            Makes the messages.
        """
        return [
            as_message(answer, parent=request.header, session=session)
            for request in self._open.take_all()
            for answer in error_answers(request, name=DEAD_KERNEL, cause=cause)
        ]


def as_message(answer: Answer, *, parent: bytes, session: Session) -> KernelMessage:
    """Return an answer as a message of the kernel's."""
    channel: ChannelName = "iopub" if answer.channel == "iopub" else "control" if answer.channel == "control" else "shell"
    header = session.pack(session.msg_header(answer.message_type))
    return KernelMessage(channel, [header, parent, b"{}", session.pack(answer.content)])
