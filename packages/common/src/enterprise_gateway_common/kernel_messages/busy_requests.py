"""Whether a kernel is busy: it is while any request that said busy hasn't said idle.

A kernel publishes a status for each request, on whichever channel or subshell it came. So "idle" says that one request has
ended, and nothing of the others that run at the same time: a cell in a subshell, a question on the control channel.
"""

from collections import OrderedDict
from typing import Optional, Set

from enterprise_gateway_common.kernel_messages.message_types import is_work
from enterprise_gateway_common.kernel_messages.request_ids import bounded_id

__all__ = ["BUSY", "IDLE", "BusyRequests"]

BUSY = "busy"
IDLE = "idle"

_MOST_OPEN = 1024
_MOST_ENDED = 256


class BusyRequests:
    """Knows which requests a kernel is working on, from the statuses that it publishes; bounded, whatever it publishes.

    Statuses may be told twice and, where two readers of one kernel overlap, in a different order: a request that has said
    idle doesn't become busy again. A status may also get lost, because a kernel drops what a subscriber is too slow for.
    Two things make up for that: a request whose reply was seen ends at the next status of another one, and `reached` says
    that the main shell came to a later request.
    """

    def __init__(self) -> None:
        # Request id → subshell; the main shell is `None`.
        self._open: "OrderedDict[str, Optional[str]]" = OrderedDict()
        self._ended: "OrderedDict[str, None]" = OrderedDict()
        self._replied: Set[str] = set()
        self._unseen = False  # means: something may be running whose "busy" nobody saw

    def __bool__(self) -> bool:
        """Tell whether the kernel is busy."""
        return self._unseen or bool(self._open)

    def __len__(self) -> int:
        """Return the number of requests that are known to be running."""
        return len(self._open)

    def status(self, state: str, *, request_id: str, request_type: str, subshell: Optional[str] = None) -> None:
        """Take note of a published status.

        Parameters
        ----------
        state
            The kernel's word; others than busy and idle mean nothing here.
        request_id, request_type, subshell
            Of the parent header; empty where the kernel named no request.
        """
        if state not in {BUSY, IDLE}:
            return
        key = bounded_id(request_id)
        self._end_replied(but=key)
        if not is_work(request_type):
            return
        if state == IDLE:
            self._end(key)
        elif key not in self._ended:
            self._open[key] = None if subshell is None else bounded_id(subshell)
            if len(self._open) > _MOST_OPEN:
                # A kernel that works on so many at once never ends any: forgetting the oldest one is the lesser error.
                self._replied.discard(self._open.popitem(last=False)[0])

    def replied(self, request_id: str) -> None:
        """Take note of a reply. Its request is over; the status that says so follows, or was lost."""
        key = bounded_id(request_id)
        if key in self._open:
            self._replied.add(key)

    def assume(self) -> None:
        """Take the kernel for busy with something unknown, until `reached`."""
        self._unseen = True

    def reached(self) -> None:
        """Take note that the main shell came to a later request: whatever ran there before has ended."""
        self._unseen = False
        for key in [key for key, subshell in self._open.items() if subshell is None]:
            self._end(key)

    def clear(self) -> None:
        """Forget everything: the kernel ended."""
        self._unseen = False
        for known in (self._open, self._ended, self._replied):
            known.clear()

    def _end_replied(self, *, but: str) -> None:
        if self._replied:
            for key in self._replied - {but}:
                self._end(key)

    def _end(self, key: str) -> None:
        self._open.pop(key, None)
        self._replied.discard(key)
        # Of statuses without a request there are many, and they have one id.
        if key:
            self._ended[key] = None
            if len(self._ended) > _MOST_ENDED:
                self._ended.popitem(last=False)
