"""Limits on what one client gets of a kernel's output; off unless an administrator sets them."""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from enterprise_gateway.links.messages import KernelMessage
from enterprise_gateway.websocket.options import WebsocketOptions

__all__ = ["RateLimit", "Verdict"]

# Dropping these would leave a client with a wrong picture of what the kernel does.
_EXEMPT = frozenset({"status", "comm_open", "execute_input"})
# Output flows again only below this share of the limit, so that it doesn't flicker around it.
_RESUME_BELOW = 0.8


@dataclass(frozen=True)
class Verdict:
    """What becomes of one message."""

    passes: bool
    notice: str | None = None
    """A text for the client, when its output just began to be dropped."""


_PASS = Verdict(passes=True)
_DROP = Verdict(passes=False)


class RateLimit:
    """Lets output of at most so many messages and bytes a second pass, measured over a window.

    The count starts anew when the kernel becomes idle, so that "Run All" doesn't add up.

    Parameters
    ----------
    options
        The limits.
    clock
        Seconds that only go forward.
    """

    def __init__(self, *, options: WebsocketOptions, clock: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._reset()

    def _reset(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._bytes = 0
        self._exceeded = False

    def check(self, message: KernelMessage) -> Verdict:
        """Tell whether a message may be passed on now; raises `MalformedMessage` for one that can't be read."""
        if message.channel != "iopub" or not (self._options.iopub_message_rate or self._options.iopub_data_rate):
            return _PASS
        kind = message.header.msg_type
        if kind in _EXEMPT:
            if kind == "status" and b'"idle"' in message.parts[3] and _says_idle(message.parts[3]):
                self._reset()
            return _PASS
        now = self._clock()
        while self._seen and self._seen[0][0] <= now:
            self._bytes -= self._seen.popleft()[1]
        size = message.size if kind == "stream" else 0
        limited = self._limited_by(len(self._seen) + 1, self._bytes + size)
        if limited is None:
            self._exceeded = False
            self._seen.append((now + self._options.rate_window, size))
            self._bytes += size
            return _PASS
        if self._exceeded:
            return _DROP
        self._exceeded = True
        return Verdict(passes=False, notice=limited)

    def _limited_by(self, messages: int, size: int) -> str | None:
        """Return the words of the limit that would be exceeded."""
        share = _RESUME_BELOW if self._exceeded else 1.0
        window = self._options.rate_window
        for what, unit, limit, amount in (
            ("message", "messages", self._options.iopub_message_rate, messages),
            ("data", "bytes", self._options.iopub_data_rate, size),
        ):
            if limit and amount / window > limit * share:
                return (
                    f"IOPub {what} rate exceeded: the gateway drops output of this kernel until it becomes slower or idle. "
                    f"The limit is {limit:g} {unit} a second, measured over {window:g} s; an administrator can change it."
                )
        return None


def _says_idle(content: bytes) -> bool:
    try:
        return bool(json.loads(content).get("execution_state") == "idle")
    except (ValueError, AttributeError):
        return False
