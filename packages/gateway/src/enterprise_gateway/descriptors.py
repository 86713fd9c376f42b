"""File descriptors and ZeroMQ sockets of this process: how much of them kernels, websockets and connections may take.

A kernel takes several of both, a websocket two descriptors. A process that has used up all of its descriptors can't even
accept the request that would end a kernel, and its probes fail. So some are kept for requests, and what would need those is
refused while the gateway can still say why.
"""

import logging
import resource
from collections.abc import Callable
from pathlib import Path

from enterprise_gateway.errors import Unavailable

__all__ = ["DescriptorBudget", "descriptors_in_use", "raise_descriptor_limit"]

_log = logging.getLogger(__name__)

# Counted on running gateways: four ZeroMQ sockets of two descriptors, the process, its output; and of a websocket the
# client's connection, twice. A start takes a few more for a moment, which the reserve gives.
_FOR_A_KERNEL = 10
_FOR_A_WEBSOCKET = 2
# However small a limit is, requests get this part of it.
_SHARE_OF_REQUESTS = 4
_SOCKETS_OF_A_KERNEL = 4
# A start opens a few more for a moment.
_SHARE_OF_STARTS = 8
_OWN_DESCRIPTORS = Path("/proc/self/fd")


def raise_descriptor_limit() -> None:
    """Let this process open as many files as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def descriptors_in_use() -> int:
    """Return how many descriptors this process has open; 0 where the system doesn't tell."""
    try:
        # Linux tells the number as the folder's size from 6.2 on; before that the size is 0 and the entries are counted.
        return _OWN_DESCRIPTORS.stat().st_size or sum(1 for _ in _OWN_DESCRIPTORS.iterdir())
    except OSError:
        return 0


def _limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class DescriptorBudget:
    """Refuses kernels and websockets that would leave too few descriptors for requests, or find no ZeroMQ sockets.

    Parameters
    ----------
    for_requests
        How many connections of clients, websockets aside, there may be; fewer where the limit is small.
    kernels
        How many there are. Those that have only just been accepted haven't taken what they need yet, nor have websockets.
    most_sockets
        How many ZeroMQ sockets there may be.
    limit, in_use
        What the system says of this process.
    """

    def __init__(
        self,
        *,
        for_requests: int,
        kernels: Callable[[], int],
        most_sockets: int,
        limit: Callable[[], int] = _limit,
        in_use: Callable[[], int] = descriptors_in_use,
    ) -> None:
        self._for_requests = for_requests
        self._kernels = kernels
        self._websockets = 0
        self._most_sockets = most_sockets
        self._limit = limit
        self._in_use = in_use

    @property
    def connections(self) -> int:
        """The most connections of clients at one time, websockets aside."""
        return min(self._for_requests, self._limit() // _SHARE_OF_REQUESTS)

    def websocket_opened(self) -> None:
        """Count one more websocket."""
        self._websockets += 1

    def websocket_closed(self) -> None:
        """Count one less."""
        self._websockets -= 1

    def check(self) -> None:
        """Return when there is room for one more kernel or websocket.

        Raises
        ------
        Unavailable
            There is none; an administrator finds the numbers in the log.
        """
        kernels = self._kernels()
        in_use = max(self._in_use(), _FOR_A_KERNEL * kernels + _FOR_A_WEBSOCKET * self._websockets)
        limit, kept = self._limit(), self.connections
        if in_use + _FOR_A_KERNEL > limit - kept:
            _log.warning(
                "No room for another kernel or websocket: raise the limit of open files (ulimit -n)",
                extra={"in_use": in_use, "limit": limit, "kept_for_requests": kept},
            )
            raise _no_room("open files")
        sockets = _SOCKETS_OF_A_KERNEL * (kernels + 1)
        if sockets > self._most_sockets - self._most_sockets // _SHARE_OF_STARTS:
            _log.warning(
                "No room for another kernel or websocket: raise zmq_max_sockets",
                extra={"in_use": sockets, "limit": self._most_sockets},
            )
            raise _no_room("ZeroMQ sockets (zmq_max_sockets)")


def _no_room(what: str) -> Unavailable:
    return Unavailable(
        "The gateway has no room for another kernel or connection: shut kernels down that aren't needed, or ask the "
        f"administrator to raise its limit of {what}."
    )
