"""Reads and writes one ZeroMQ socket in the event loop, with as few turns of the loop as possible.

pyzmq's `ZMQStream` takes one message a turn of the loop and asks for the socket's state around each: on this path that
was most of what the gateway added to an execution's time. This one reads all that is there, and writes at once.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

import zmq

__all__ = ["ChannelSocket"]

# For so long messages are read in one turn of the loop, then others get theirs: one message may go to a hundred clients.
_TURN_SECONDS = 0.002
_SEND_AGAIN_SECONDS = 0.05
# What has arrived is read within milliseconds. A kernel that prints in a loop while it is restarted never stops to arrive.
_DRAIN_SECONDS = 0.25


class ChannelSocket:
    """Hands over every message that arrives while it is reading, in order.

    The socket's descriptor becomes readable once for each change of the socket's state, not for as long as there is
    something to read. So whoever looks must read until nothing is left, and look again after writing, which may have
    taken notice of the change.

    Parameters
    ----------
    socket
        A connected socket; closed with this object.
    received
        Told of each message.
    """

    def __init__(self, *, socket: zmq.Socket[bytes], received: Callable[[list[bytes]], None]) -> None:
        self._socket = socket
        self._received = received
        self._loop = asyncio.get_running_loop()
        self._reading = True
        self._unsent: deque[list[bytes]] = deque()
        self._backlog = 0
        self._later: asyncio.Handle | None = None
        self._loop.add_reader(socket.FD, self._work)
        self._look_again()

    @property
    def backlog(self) -> int:
        """Bytes that wait because the other end doesn't read."""
        return self._backlog

    def read(self, wanted: bool) -> None:  # noqa: FBT001 - a switch
        """Begin or stop to read."""
        self._reading = wanted
        if wanted:
            self._look_again()

    def send(self, frames: Sequence[bytes]) -> None:
        """Send a message, now or as soon as the other end reads."""
        self._unsent.append(list(frames))
        self._backlog += sum(map(len, frames))
        self._write()
        self._look_again()

    def drain(self) -> None:
        """Hand over what has already arrived, reading or not; a peer that goes on sending is left after a moment."""
        end = time.monotonic() + _DRAIN_SECONDS
        while not self._socket.closed and (frames := self._next()) is not None:
            self._received(frames)
            if time.monotonic() > end:
                return

    def close(self, *, linger_milliseconds: int = 0) -> None:
        """Close the socket; what wasn't sent yet is sent for so long, while the caller goes on."""
        if self._socket.closed:
            return
        if self._later is not None:
            self._later.cancel()
        self._loop.remove_reader(self._socket.FD)
        self._socket.close(linger=linger_milliseconds)

    def _look_again(self, seconds: float = 0.0) -> None:
        if self._later is None:
            self._later = self._loop.call_later(seconds, self._looked) if seconds else self._loop.call_soon(self._looked)

    def _looked(self) -> None:
        self._later = None
        self._work()

    def _work(self) -> None:
        self._write()
        end = time.monotonic() + _TURN_SECONDS
        while self._reading and not self._socket.closed:
            frames = self._next()
            if frames is None:
                return
            self._received(frames)
            if time.monotonic() > end:
                self._look_again()
                return

    def _next(self) -> list[bytes] | None:
        try:
            return self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def _write(self) -> None:
        while self._unsent:
            frames = self._unsent[0]
            try:
                self._socket.send_multipart(frames, zmq.NOBLOCK)
            except zmq.Again:
                # Room is a change of state as well; the timer stands in for one that was noticed elsewhere.
                self._look_again(_SEND_AGAIN_SECONDS)
                return
            self._unsent.popleft()
            self._backlog -= sum(map(len, frames))
