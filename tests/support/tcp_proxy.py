"""A hop between a client and a server that a test can break as networks break."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from typing import Self

__all__ = ["TcpProxy"]

_CHUNK = 1 << 16
_RESET = struct.pack("ii", 1, 0)


class TcpProxy:
    """Passes bytes between clients and a port of this machine until it is told to break.

    Attributes
    ----------
    port
        Where clients connect.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._closed = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self.reset()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def reset(self) -> None:
        """Reset every connection at both ends, as a proxy that is killed."""
        pairs, self._pairs = self._pairs, []
        for end in (end for pair in pairs for end in pair):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                # Wakes the thread that waits for it, whose `select` would keep the connection, and acknowledge, after `close`.
                end.shutdown(socket.SHUT_RD)
            end.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            if not select.select([self._listener], [], [], 0.05)[0]:
                continue
            client, _ = self._listener.accept()
            pair = client, socket.create_connection(("127.0.0.1", self._target))
            for end in pair:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append(pair)
            for source, sink in (pair, pair[::-1]):
                thread = threading.Thread(target=self._pass_on, args=(pair, source, sink))
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, pair: tuple[socket.socket, socket.socket], source: socket.socket, sink: socket.socket) -> None:
        while not self._closed.is_set() and pair in self._pairs:
            try:
                if not select.select([source], [], [], 0.05)[0]:
                    continue
                data = source.recv(_CHUNK)
                sink.sendall(data)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
            except (OSError, ValueError):
                return
