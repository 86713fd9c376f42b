"""What of the bytes written to a client's connection has reached the client.

After a connection is lost, the session goes on in the log where its client stopped. The operating system knows how many bytes
the other end's TCP hasn't acknowledged, and tornado how many bytes it hasn't handed to the operating system yet.

What this can't know: a proxy in between acknowledges by itself, so what the proxy still held when it broke counts as
received; and so does what had reached the client's operating system when the client itself crashed. With TLS the
unacknowledged bytes are counted encrypted, some 22 more a record, so a message or two may come twice, never too few.
Where the operating system can't be asked, everything handed to it counts as received.

This module is the only one that reads counters which tornado doesn't document.
"""

import array
import fcntl
import os
import socket
import struct
import sys
import termios
from collections import deque
from contextlib import suppress

from tornado.iostream import IOStream

from enterprise_gateway_common.message_log import Position

__all__ = ["Delivery", "InFlight"]

_NEVER = sys.maxsize
_RESET = struct.pack("ii", 1, 0)


class Delivery:
    """Counts, for one connection, the bytes that were written, sent and received.

    Parameters
    ----------
    stream
        The connection. A second descriptor of its socket is kept until `close`, because the stream closes its own before
        anyone can ask how much was left.
    """

    def __init__(self, *, stream: IOStream) -> None:
        self._stream = stream
        # Not the socket's own `dup`: with TLS it has none, and what is asked here is below TLS.
        self._socket: socket.socket | None = socket.socket(fileno=os.dup(stream.socket.fileno()))

    @property
    def written(self) -> int:
        """Bytes that were given to the stream so far."""
        return int(self._stream._total_write_index)  # noqa: SLF001 - see the module's text

    @property
    def sent(self) -> int:
        """Bytes that the stream handed to the operating system so far."""
        return int(self._stream._total_write_done_index)  # noqa: SLF001 - see the module's text

    @property
    def unsent(self) -> int:
        """Bytes that wait in this process."""
        return self.written - self.sent

    @property
    def complete(self) -> bool:
        """Whether everything written has been acknowledged."""
        return self.received() == self.written

    def received(self) -> int:
        """Bytes that the other end has acknowledged so far."""
        return self.sent - self._unacknowledged()

    def _unacknowledged(self) -> int:
        # TIOCOUTQ is SIOCOUTQ by another name; of a socket only Linux answers it.
        if self._socket is None or not sys.platform.startswith("linux"):
            return 0
        number = array.array("i", [0])
        try:
            fcntl.ioctl(self._socket, termios.TIOCOUTQ, number)
        except OSError:
            return 0
        return number[0]

    def close(self, *, abort: bool) -> None:
        """Let the connection's socket go; it stays open until then, whoever else closes it.

        Parameters
        ----------
        abort
            Don't let the operating system send what it still has: it will be sent again on another connection.
        """
        if self._socket is None:
            return
        with self._socket, suppress(OSError):
            if abort:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._socket = None


class InFlight:
    """Remembers where in the log those messages stand of which it isn't certain that the client received them."""

    def __init__(self) -> None:
        self._messages: deque[tuple[int, Position]] = deque()

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, position: Position, end: int | None) -> None:
        """Remember a message whose last byte is number `end` of the connection; `None` for one that wasn't even written."""
        self._messages.append((_NEVER if end is None else end, position))

    def forget(self, received: int) -> None:
        """Forget what ends within the first `received` bytes."""
        while self._messages and self._messages[0][0] <= received:
            self._messages.popleft()

    def first_undelivered(self, received: int) -> Position | None:
        """Return where the first message stands that doesn't end within the first `received` bytes."""
        self.forget(received)
        return self._messages[0][1] if self._messages else None
