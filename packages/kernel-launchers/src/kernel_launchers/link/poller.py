"""Waits for ZeroMQ's sockets as well as for descriptors."""

from typing import Any, List, Optional, Tuple

import zmq

from kernel_launchers.supervisor.loop import READ, WRITE

__all__ = ["ZmqPoller"]


class ZmqPoller:
    """A poller for the supervisor's loop, in place of the one of the operating system."""

    def __init__(self) -> None:
        self._poller = zmq.Poller()

    def register(self, descriptor: Any, events: int) -> None:  # noqa: ANN401 - a socket or a number
        """Watch a descriptor or socket; replaces what was watched for."""
        self._poller.register(descriptor, (zmq.POLLIN if events & READ else 0) | (zmq.POLLOUT if events & WRITE else 0))

    def unregister(self, descriptor: Any) -> None:  # noqa: ANN401 - as above
        """Watch it no longer."""
        self._poller.unregister(descriptor)

    def poll(self, milliseconds: Optional[int]) -> "List[Tuple[Any, int]]":
        """Return what is ready, in the order in which it came to be watched."""
        ready: "List[Tuple[Any, int]]" = self._poller.poll(milliseconds)
        return ready
