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
_RECONNECT_MILLISECONDS, _RECONNECT_MAX_MILLISECONDS = 20, 500
# A kernel that prints in a loop while it is ended never stops.
_DRAIN_SECONDS = 0.25
_QUIET_MILLISECONDS = 30


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
    """

    def __init__(
        self,
        *,
        context: "zmq.Context[Any]",
        loop: Loop,
        info: Mapping[str, Any],
        identity: bytes,
        received: "Callable[[str, List[bytes]], None]",
    ) -> None:
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
            socket.reconnect_ivl, socket.reconnect_ivl_max = _RECONNECT_MILLISECONDS, _RECONNECT_MAX_MILLISECONDS
            socket.identity = identity
            if channel == "iopub":
                socket.subscribe(b"")
            socket.connect(_address(info, channel))
            self._watch(channel)

    def _watch(self, channel: str) -> None:
        events = (READ if self._reading else 0) | (WRITE if self._unsent.get(channel) else 0)
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

    def _work(self, channel: str) -> None:
        if self._unsent.get(channel):
            self._write(channel)
        if not self._reading:
            return
        if channel != "iopub":
            self._read("iopub")
        self._read(channel)

    def _read(self, channel: str, *, seconds: float = _TURN_SECONDS) -> None:
        end = time.monotonic() + seconds
        while channel in self._sockets and time.monotonic() < end:
            try:
                frames = self._sockets[channel].recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._received(channel, frames)

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
