"""The sockets to the kernel, on an address that nobody outside the pod can reach."""

import time
from collections import deque
from functools import partial
from typing import Any, Callable, Deque, Dict, List, Mapping, Sequence, Tuple

import zmq

from kernel_launchers.supervisor.loop import READ, WRITE, Loop

__all__ = ["KernelSockets"]

# iopub stands first: what is readable at the same time is read in this order, so that a reply doesn't overtake its output.
_TYPES = {"iopub": zmq.SUB, "stdin": zmq.DEALER, "control": zmq.DEALER, "shell": zmq.DEALER}
_TO_KERNEL = ("shell", "control", "stdin")
_TURN_SECONDS = 0.005
_HIGH_WATER = 64
# Above this rate a message may wait a few milliseconds. Cells that are run one after the other say a quarter of it.
_FLOOD_SECONDS, _FLOOD_MESSAGES = 0.05, 100
_REST_SECONDS = 0.01
# Always the same: a pause that grows would let a kernel that listens by now wait for as long as it took to come up.
_RECONNECT_MILLISECONDS = 10
# A kernel that prints in a loop while it is ended never stops.
_DRAIN_SECONDS = 0.25
_QUIET_MILLISECONDS = 30


class _Flood:
    """Knows whether a kernel says so much that a message may wait a moment for others."""

    def __init__(self) -> None:
        self._since = 0.0
        self._count = 0
        self._going_on = False

    def goes_on(self, count: int) -> bool:
        """Take note of messages, and tell whether many come."""
        self._count += count
        now = time.monotonic()
        if now - self._since > _FLOOD_SECONDS:
            self._going_on = self._count > _FLOOD_MESSAGES
            self._since, self._count = now, 0
        return self._going_on


class KernelSockets:
    """Hears everything that one kernel says, and takes requests to it.

    Parameters
    ----------
    context, loop
        Of the sockets, and what tells when they can be read.
    info
        The kernel's connection file.
    identity
        What the kernel knows this client by on all channels.
    received
        Told of each message: its channel and frames.
    turn_over
        Told when there are no more for now.
    """

    def __init__(
        self,
        *,
        context: "zmq.Context[Any]",
        loop: Loop,
        info: Mapping[str, Any],
        identity: bytes,
        received: "Callable[[str, List[bytes]], None]",
        turn_over: Callable[[], None] = lambda: None,
    ) -> None:
        self._turn_over = turn_over
        self._flood = _Flood()
        self._resting = False
        self._loop = loop
        self._received = received
        self._reading = True
        self._sockets: Dict[str, Any] = {}
        self._unsent: "Dict[str, Deque[Tuple[Sequence[bytes], Callable[[], None]]]]" = {
            channel: deque() for channel in _TO_KERNEL
        }
        for channel, kind in _TYPES.items():
            socket = self._sockets[channel] = context.socket(kind)
            socket.linger = 0
            socket.rcvhwm = socket.sndhwm = _HIGH_WATER
            socket.reconnect_ivl = _RECONNECT_MILLISECONDS
            socket.identity = identity
            if channel == "iopub":
                socket.subscribe(b"")
            self._watch(channel)
        self._info = info

    def connect(self) -> None:
        """Begin to look for the kernel; what is sent before waits here."""
        for channel, socket in self._sockets.items():
            socket.connect(_address(self._info, channel))

    def _watch(self, channel: str) -> None:
        reads = self._reading and not (self._resting and channel == "iopub")
        events = (READ if reads else 0) | (WRITE if self._unsent.get(channel) else 0)
        if events:
            self._loop.watch(self._sockets[channel], events, partial(self._work, channel))
        else:
            self._loop.forget(self._sockets[channel])

    def read(self, wanted: bool) -> None:  # noqa: FBT001 - a switch
        """Begin or stop to read; what isn't read stays with the kernel."""
        if wanted != self._reading:
            self._reading = wanted
            for channel in self._sockets:
                self._watch(channel)

    def read_replies(self) -> None:
        """Take in the replies that wait, though nothing is read otherwise."""
        for channel in ("control", "shell"):
            self._read(channel)

    def _work(self, channel: str) -> None:
        if self._unsent.get(channel):
            self._write(channel)
        if not self._reading:
            return
        count = self._read("iopub")
        if channel != "iopub":
            self._read(channel)
        self._turn_over()
        if self._flood.goes_on(count) and not self._resting:
            # What comes meanwhile is passed on together, which costs less than each message by itself.
            self._resting = True
            self._watch("iopub")
            self._loop.call_later(_REST_SECONDS, self._rested)

    def _rested(self) -> None:
        self._resting = False
        if "iopub" in self._sockets:
            self._work("iopub")
            self._watch("iopub")

    def _read(self, channel: str) -> int:
        end, count = time.monotonic() + _TURN_SECONDS, 0
        while channel in self._sockets and time.monotonic() < end:
            try:
                frames = _receive(self._sockets[channel])
            except zmq.Again:
                break
            self._received(channel, frames)
            count += 1
        return count

    def send(self, channel: str, frames: Sequence[bytes], *, sent: Callable[[], None] = lambda: None) -> None:
        """Send a message to the kernel, now or as soon as it reads, and tell when it isn't kept here any more."""
        self._unsent[channel].append((frames, sent))
        if len(self._unsent[channel]) == 1:
            self._write(channel)

    def _write(self, channel: str) -> None:
        unsent = self._unsent[channel]
        while unsent:
            try:
                self._sockets[channel].send_multipart(unsent[0][0], zmq.NOBLOCK)
            except zmq.Again:
                break
            _, sent = unsent.popleft()
            sent()
        self._watch(channel)

    def drain(self) -> None:
        """Take in what a kernel said that has ended: until nothing more comes, or for a moment."""
        # ZeroMQ's own thread may still be about to hand over what the operating system has.
        end, poller = time.monotonic() + _DRAIN_SECONDS, zmq.Poller()
        for socket in self._sockets.values():
            poller.register(socket, zmq.POLLIN)
        while time.monotonic() < end and poller.poll(_QUIET_MILLISECONDS):
            for channel in _TYPES:
                self._read(channel)

    def close(self) -> None:
        """Close the sockets; what wasn't sent is dropped."""
        while self._sockets:
            _, socket = self._sockets.popitem()
            self._loop.forget(socket)
            socket.close()
        for unsent in self._unsent.values():
            while unsent:
                _, sent = unsent.popleft()
                sent()


def _address(info: Mapping[str, Any], channel: str) -> str:
    separator = "-" if info["transport"] == "ipc" else ":"
    return f"{info['transport']}://{info['ip']}{separator}{info[channel + '_port']}"


def _receive(socket: "zmq.Socket[Any]") -> List[bytes]:
    """Return the frames of the next message; `recv_multipart` asks the socket after each one, which takes half as long again.

    Raises
    ------
    zmq.Again
        There is none.
    """
    frames = []
    while True:
        frame = socket.recv(zmq.NOBLOCK, copy=False)
        frames.append(frame.bytes)
        if not frame.more:
            return frames
