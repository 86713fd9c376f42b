"""What clients asked of a kernel and have no answer to: who gets the answer, and what if the kernel dies before it comes."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from jupyter_client.session import Session

from enterprise_gateway.links.messages import Header, KernelMessage
from enterprise_gateway.links.sockets import ChannelName
from enterprise_gateway_common.kernel_messages.error_replies import DEAD_KERNEL, Answer, error_answers
from enterprise_gateway_common.kernel_messages.message_types import EXECUTE_REQUEST, reply_type
from enterprise_gateway_common.kernel_messages.open_requests import OpenRequest, OpenRequests

__all__ = ["HeldMessage", "KernelDoesNotRead", "LinkRequests", "TooManyWait", "as_message"]

# What a message costs beside its bytes, so that many empty ones are bounded as well.
_OVERHEAD_BYTES = 1024
_MOST_HELD = 1000


class KernelDoesNotRead(Exception):
    """So much waits to be sent to the kernel that a client may not add to it."""


class TooManyWait(KernelDoesNotRead):
    """So much waits for a kernel that isn't up yet that a client may not add to it; the text says so to the client."""


class HeldMessage(NamedTuple):
    """A client's message on its way to the kernel."""

    channel: ChannelName
    header: Header
    parts: Sequence[bytes]
    """As the client sent them; the first one is the parent header of every answer."""
    session_id: str
    """Whose answers these are."""


class LinkRequests:
    """Remembers requests until they are answered, and holds those that come while the kernel isn't up.

    Parameters
    ----------
    most_held_bytes, most_held
        The most that is held: bytes, and messages.
    """

    def __init__(self, *, most_held_bytes: int, most_held: int = _MOST_HELD) -> None:
        self._most_held_bytes = most_held_bytes
        self._most_held = most_held
        self._open = OpenRequests()
        self._held: list[HeldMessage] = []
        self._held_bytes = 0

    def sent(self, message: HeldMessage) -> None:
        """Remember a request that goes to the kernel."""
        request = OpenRequest(
            channel=message.channel,
            request_type=message.header.msg_type,
            header=message.parts[0],
            session_id=message.session_id,
        )
        self._open.sent(message.header.msg_id, request)

    @property
    def holding(self) -> bool:
        """Whether anything waits for the kernel to be up."""
        return bool(self._held)

    def hold(self, message: HeldMessage) -> None:
        """Keep a message for the kernel that is to come; raises `TooManyWait` where too much is kept."""
        size = _OVERHEAD_BYTES + sum(map(len, message.parts))
        if self._held_bytes + size > self._most_held_bytes or len(self._held) >= self._most_held:
            raise TooManyWait(
                f"The kernel isn't up yet, and {len(self._held)} messages wait for it already, as many as may. "
                "Run this again when it is up."
            )
        self._held.append(message)
        self._held_bytes += size

    def release(self) -> list[HeldMessage]:
        """Return what was held, in order, and hold it no longer."""
        held, self._held, self._held_bytes = self._held, [], 0
        return held

    def answer_unsent(self, messages: Iterable[HeldMessage], cause: str, session: Session) -> Iterator[KernelMessage]:
        """Return what requests lack that never reached the kernel; of each session's cells the first one shows the cause."""
        shown = set[str]()
        for message in messages:
            kind = message.header.msg_type
            if reply_type(kind) is None:
                continue
            request = OpenRequest(channel=message.channel, request_type=kind, header=message.parts[0])
            if kind == EXECUTE_REQUEST and message.session_id not in shown:
                shown.add(message.session_id)
                request.began = True
            for answer in error_answers(request, name=DEAD_KERNEL, cause=cause):
                yield as_message(answer, parent=message.parts[0], recipient=message.session_id, session=session)

    def recipient(self, message: KernelMessage) -> str:
        """Return the session that a reply or a request for input is for.

        That of a request which was forgotten is the one that its header names: for most clients it is the same.
        """
        return self._open.session_of(message.parent.msg_id) or message.parent.session

    def seen(self, message: KernelMessage) -> None:
        """Take note of what a message from the kernel says of a request."""
        self._open.seen(message.channel, message.header.msg_type, request_id=message.parent.msg_id, content=message.parts[3])

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
            as_message(answer, parent=request.header, recipient=request.session_id, session=session)
            for request in self._open.take_all()
            for answer in error_answers(request, name=DEAD_KERNEL, cause=cause)
        ]


def as_message(answer: Answer, *, parent: bytes, recipient: str | None, session: Session) -> KernelMessage:
    """Return an answer as a message of the kernel's; a reply is for one session, output for all."""
    channel: ChannelName = "iopub" if answer.channel == "iopub" else "control" if answer.channel == "control" else "shell"
    parts = [session.pack(session.msg_header(answer.message_type)), parent, b"{}", session.pack(answer.content)]
    return KernelMessage(channel, parts, recipient=None if channel == "iopub" else recipient, by_gateway=True)
