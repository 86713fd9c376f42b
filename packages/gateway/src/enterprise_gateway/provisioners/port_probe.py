"""Tells when a kernel in a pod listens, and whether it still does: a running container says nothing of the program in it."""

import asyncio
import errno
import socket
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

__all__ = ["AnyPort", "PortProbe", "greets"]

# An interpreter needs as long before it can listen; what knocks sooner only costs both ends time.
_FIRST_SECONDS = 0.1
_ANSWER_SECONDS = 1.0
# Of the time that has been waited: a kernel of a busy node isn't asked for a hundred times, and none waits much longer for it.
_PAUSE_PART = 0.1
_PAUSE_SECONDS = 0.05, 0.5
_GREETING_SECONDS = 2.0
_GREETING = b"\xff"


async def greets(ip: str, port: int) -> bool:
    """Tell within two seconds whether ZeroMQ greets at a port, as it does whatever its kernel computes at the time.

    A thread of ZeroMQ's own greets, unasked, so this says of a kernel of any language that its process runs and can be
    reached; a proxy that takes connections for others can't say it in its place.
    """
    writer = None
    try:
        async with asyncio.timeout(_GREETING_SECONDS):
            reader, writer = await asyncio.open_connection(ip, port)
            return await reader.read(len(_GREETING)) == _GREETING
    except (OSError, TimeoutError):
        return False
    finally:
        if writer is not None:
            writer.transport.abort()


class PortProbe:
    """Connects to a port again and again until somebody listens there.

    Made of callbacks and a bare socket: with a stream, the loop's own `sock_connect`, or a task that sleeps between the
    attempts, they would be a fifth of what a start costs this process.

    Parameters
    ----------
    ip
        Address in digits.
    first_seconds
        When it connects for the first time.
    """

    def __init__(self, ip: str, port: int, *, first_seconds: float = _FIRST_SECONDS) -> None:
        self._loop = asyncio.get_running_loop()
        self._family, self._address = _socket_address(ip, port)
        self._begun = time.monotonic()
        self._attempt: socket.socket | None = None
        self.answered: asyncio.Future[None] = self._loop.create_future()
        """Done as soon as somebody listens."""
        self._timer = self._loop.call_later(first_seconds, self._connect)

    def close(self) -> None:
        """Knock no more."""
        self._timer.cancel()
        self._let_go()
        self.answered.cancel()

    def _connect(self) -> None:
        self._let_go()
        attempt = self._attempt = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        error = attempt.connect_ex(self._address)
        if error == errno.EINPROGRESS:
            self._loop.add_writer(attempt, self._heard)
            # A network that swallows what it doesn't deliver never says anything.
            self._timer = self._loop.call_later(_ANSWER_SECONDS, self._connect)
        else:
            self._told(error)

    def _heard(self) -> None:
        self._timer.cancel()
        if self._attempt is not None:
            self._told(self._attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _told(self, error: int) -> None:
        self._let_go()
        if not error:
            self.answered.set_result(None)
            return
        self._timer = self._loop.call_later(_pause(time.monotonic() - self._begun), self._connect)

    def _let_go(self) -> None:
        if self._attempt is not None:
            self._loop.remove_writer(self._attempt)
            self._attempt.close()
            self._attempt = None


class AnyPort:
    """Finds out which of some ports somebody listens on: the first that answers.

    Parameters
    ----------
    first_seconds
        When each of them is tried for the first time.
    """

    def __init__(self, ip: str, ports: Sequence[int], *, first_seconds: float = _FIRST_SECONDS) -> None:
        self.answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The port, as soon as there is one."""
        self._probes = [PortProbe(ip, port, first_seconds=first_seconds) for port in ports]
        for port, probe in zip(ports, self._probes, strict=True):
            probe.answered.add_done_callback(partial(self._answered, port))

    def _answered(self, port: int, answered: "asyncio.Future[None]") -> None:
        if not answered.cancelled() and not self.answered.done():
            self.answered.set_result(port)

    def close(self) -> None:
        """Try no more."""
        for probe in self._probes:
            probe.close()
        self.answered.cancel()


def _pause(waited: float) -> float:
    shortest, longest = _PAUSE_SECONDS
    return min(max(shortest, _PAUSE_PART * waited), longest)


def _socket_address(ip: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    ((family, _, _, _, address), *_) = socket.getaddrinfo(ip, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return family, address
