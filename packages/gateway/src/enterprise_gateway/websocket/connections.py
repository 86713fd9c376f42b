"""All websockets that are open, at most one for each kernel and session."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from enterprise_gateway.errors import Unavailable

__all__ = ["Closable", "OpenConnections", "Room", "SessionKey"]

SessionKey = tuple[str, str]
"""Id of the kernel, id of the client's session."""

SERVICE_RESTART = 1012
_RESTARTS = "the gateway restarts"
_LOOK_SECONDS = 0.1


class Closable(Protocol):
    """An open connection."""

    def close(self, code: int, reason: str) -> None:
        """Begin to close."""


class Room(Protocol):
    """What this process can carry."""

    def check(self) -> None:
        """Raise `Unavailable` where it can't carry one more."""

    def websocket_opened(self) -> None:
        """Count one more."""

    def websocket_closed(self) -> None:
        """Count one less."""


class OpenConnections:
    """Knows every open connection.

    Parameters
    ----------
    limit
        The most at one time; 0 for no limit.
    room
        Told of every connection, and asked before there is one more.
    """

    def __init__(self, *, limit: int, room: Room) -> None:
        self._limit = limit
        self._room = room
        self._connections: dict[SessionKey, Closable] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._connections)

    def admit(self, key: SessionKey) -> None:
        """Raise `Unavailable` unless one more connection is allowed; one that replaces another always is."""
        if key in self._connections:
            return
        self._room.check()
        if self._limit and len(self._connections) >= self._limit:
            raise Unavailable(f"This gateway already has {self._limit} websockets, the most that it is set to have.")

    def get(self, key: SessionKey) -> Closable | None:
        """Return the connection of a session."""
        return self._connections.get(key)

    def add(self, key: SessionKey, connection: Closable) -> Closable | None:
        """Take in a connection; return the one that it replaces."""
        stale = self._connections.get(key)
        self._connections[key] = connection
        if stale is None:
            self._room.websocket_opened()
        return stale

    def remove(self, key: SessionKey, connection: Closable) -> None:
        """Forget a connection, unless another took its place."""
        if self._connections.get(key) is connection:
            del self._connections[key]
            self._room.websocket_closed()
            self._changed.set()

    async def close_idle(self, busy: Callable[[str], bool], *, within: float) -> None:
        """Close the connections to kernels that do nothing, and each of the others once its kernel does nothing.

        Who is told to go elsewhere in the middle of a cell misses what is printed before it gets there.

        Parameters
        ----------
        busy
            Tells of a kernel's id whether it is worth waiting for.
        within
            Seconds after which the rest is left open.
        """
        loop = asyncio.get_running_loop()
        deadline, asked = loop.time() + within, set[Closable]()
        while loop.time() < deadline:
            for (kernel_id, _), connection in list(self._connections.items()):
                if connection not in asked and not busy(kernel_id):
                    asked.add(connection)
                    connection.close(SERVICE_RESTART, _RESTARTS)
            if asked.issuperset(self._connections.values()):
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def close_all(
        self,
        *,
        code: int = SERVICE_RESTART,
        reason: str = _RESTARTS,
        timeout: float = 6.0,
    ) -> None:
        """Close every connection and return when all are gone, or the time is over."""
        for connection in list(self._connections.values()):
            connection.close(code, reason)
        try:
            async with asyncio.timeout(timeout):
                while self._connections:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return
