"""A websocket between a client and a port of its kernel, as bytes: pings and closes are the two sides' own."""

import socket
from contextlib import suppress

from tornado.iostream import IOStream, StreamClosedError

from enterprise_gateway.kernels.waiting import first_of

__all__ = ["Tunnel"]

_PIECE = 64 * 1024
# A peer that is gone without a word is noticed in two minutes.
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


class Tunnel:
    """Carries bytes both ways, no more of them at a time than the other side takes.

    Parameters
    ----------
    client, kernel
        Its two ends, which it closes.
    """

    def __init__(self, *, client: IOStream, kernel: IOStream) -> None:
        self._ends = client, kernel

    async def carry(self) -> None:
        """Return when either side has ended; then both are closed."""
        client, kernel = self._ends
        for end in self._ends:
            _notice_silence(end)
        try:
            await first_of(_copy(client, kernel), _copy(kernel, client))
        finally:
            client.close()
            kernel.close()

    def close(self, code: int, reason: str) -> None:  # noqa: ARG002  in the middle of a message nothing can be said
        """End it."""
        for end in self._ends:
            end.close()


async def _copy(source: IOStream, target: IOStream) -> None:
    with suppress(StreamClosedError):
        while True:
            await target.write(await source.read_bytes(_PIECE, partial=True))


def _notice_silence(stream: IOStream) -> None:
    if stream.closed():
        return
    with suppress(OSError):  # closed by the other side meanwhile
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                stream.socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    stream.set_nodelay(True)
