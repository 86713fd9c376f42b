"""Finds a message that its client can't take: the connection is lost over it, again and again.

Clients close a connection when a message is larger than their limit, and nothing tells the gateway which message it was.
Sent again, as everything that was not received, it would cost every connection to come. What was not received begins with
it; so what stands there after two losses in a row is given up.
"""

from jupyter_client.session import Session

from enterprise_gateway.links import notices
from enterprise_gateway.links.messages import KernelMessage
from enterprise_gateway.links.requests import as_message
from enterprise_gateway_common.kernel_messages.error_replies import error_reply

__all__ = ["SMALLEST_LIMIT", "RepeatedLoss", "in_place_of"]

# No client has a smaller limit, so a smaller message was only unlucky twice, on a line that is bad. Defaults are 1 MiB
# (Python's websockets), 4 MiB (aiohttp), 10 MiB (tornado, which is Jupyter Server) or none (browsers).
SMALLEST_LIMIT = 128 * 1024

_ERROR = "MessageTooLarge"


class RepeatedLoss:
    """Knows the message over which two connections of one session in a row were lost."""

    __slots__ = ("_given_up", "_suspect")

    def __init__(self) -> None:
        self._suspect: int | None = None
        self._given_up: int | None = None

    def lost(self, number: int, size: int) -> bool:
        """Take note of a loss, and tell whether it makes a message given up.

        Parameters
        ----------
        number, size
            Where the first message stands in the log that the client didn't receive, and its bytes; 0 where it received
            everything.
        """
        if size < SMALLEST_LIMIT or number == self._given_up:
            self._suspect = None
        elif self._suspect != number:
            self._suspect = number
        else:
            self._suspect, self._given_up = None, number
            return True
        return False

    def gave_up(self, number: int) -> bool:
        """Tell whether something else is to be sent in a message's place."""
        return number == self._given_up


def in_place_of(message: KernelMessage, session: Session) -> KernelMessage:
    """Return something that a client can take, in the place of a message that it can't.

    Output becomes a notice. A reply becomes an error that says why, because its client waits for it.
    """
    if message.channel in {"shell", "control"} and message.parent.msg_type:
        cause = f"The reply of {message.size} bytes was dropped: the connection was lost twice while it was sent."
        answer = error_reply(message.channel, message.parent.msg_type, name=_ERROR, cause=cause)
        return as_message(answer, parent=message.parent_header, recipient=message.recipient, session=session)
    text = (
        f"[output of {message.size} bytes was dropped: the connection was lost twice while it was sent. "
        "It may be larger than the client's limit for one message]"
    )
    return notices.stderr(text, session=session, parent=message.parent_header)
