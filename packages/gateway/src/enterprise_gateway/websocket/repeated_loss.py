"""Finds a message that its client can't take: the connection is lost over it, again and again.

Clients close a connection when a message is larger than their limit, and nothing tells the gateway which message it was.
Sent again, as everything that was not received, it would cost every connection to come. What was not received begins with
it; so what stands there after two losses in a row is given up.
"""

from collections.abc import Callable, Iterable

from jupyter_client.session import Session

from enterprise_gateway.websocket.messages import Gap, Item, KernelMessage, MalformedMessage, decode_header
from enterprise_gateway.websocket.session_requests import as_message
from enterprise_gateway_common.kernel_messages.error_replies import error_reply

__all__ = ["RepeatedLoss"]

# No client has a smaller limit, so a smaller message was only unlucky twice, on a line that is bad. Defaults are 1 MiB
# (Python's websockets), 4 MiB (aiohttp), 10 MiB (tornado, which is Jupyter Server) or none (browsers).
_SMALLEST_LIMIT = 128 * 1024

_ERROR = "MessageTooLarge"


class RepeatedLoss:
    """Puts something that a client can take in the place of the message over which two connections in a row were lost.

    Output becomes the notice of a gap. A reply becomes an error that says why, because its client waits for it.

    Parameters
    ----------
    dropped
        Told the bytes of a message that was given up.
    """

    def __init__(self, *, dropped: Callable[[int], None]) -> None:
        self._dropped = dropped
        self._suspect: bytes | None = None  # header, with the id, of what headed the undelivered at the latest loss

    def check(self, undelivered: Iterable[Item], session: Session) -> list[Item]:
        """Return what is to be sent again, after a connection was lost.

        Parameters
        ----------
        undelivered
            What the client didn't receive, in order.
        session
            Makes the gateway's own messages.
        """
        items = list(undelivered)
        place = next((place for place, item in enumerate(items) if isinstance(item, KernelMessage)), None)
        head = None if place is None else items[place]
        if place is None or not isinstance(head, KernelMessage) or head.size < _SMALLEST_LIMIT:
            self._suspect = None
        elif self._suspect != head.parts[0]:
            self._suspect = head.parts[0]
        else:
            self._suspect = None
            items[place] = _in_place_of(head, session)
            self._dropped(head.size)
        return items


def _in_place_of(message: KernelMessage, session: Session) -> Item:
    if message.channel in {"shell", "control"}:
        try:
            request = decode_header(message.parts[1])
        except MalformedMessage:
            return _gap(message)
        cause = f"The reply of {message.size} bytes was dropped: the connection was lost twice while it was sent."
        answer = error_reply(message.channel, request.msg_type, name=_ERROR, cause=cause)
        return as_message(answer, parent=message.parts[1], session=session)
    return _gap(message)


def _gap(message: KernelMessage) -> Gap:
    return Gap(1, message.size, message.parts[1], twice=True)
