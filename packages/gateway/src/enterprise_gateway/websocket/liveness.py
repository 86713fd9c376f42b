"""Finds out that a client is gone although nobody closed the connection."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from tornado.websocket import WebSocketClosedError

from enterprise_gateway.websocket.delivery import Delivery

__all__ = ["Liveness", "Pinger"]


class Pinger(Protocol):
    """Sends a ping."""

    def __call__(self) -> None:
        """Send; raises `WebSocketClosedError`."""


class Liveness:
    """Pings a client, and reports it lost after too long a time without any sign of life.

    tornado's own pings can't wait longer for an answer than until the next ping. A ping stands behind all output that is
    on its way: on a slow line the answer comes late, and the output that moves is sign enough.

    Parameters
    ----------
    ping
        Sends a ping.
    lost
        Called once, at the end.
    delivery
        Shows whether output moves.
    interval, timeout
        Seconds between pings, and without a sign of life.
    clock, sleep
        Seconds that only go forward, and waiting for some.
    """

    def __init__(
        self,
        *,
        ping: Pinger,
        lost: Callable[[], None],
        delivery: Delivery,
        interval: float,
        timeout: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._ping = ping
        self._lost = lost
        self._delivery = delivery
        self._interval = interval
        self._timeout = timeout
        self._clock = clock
        self._sleep = sleep
        self._last_sign = clock()

    def sign_of_life(self) -> None:
        """Note that something came from the client."""
        self._last_sign = self._clock()

    async def watch(self) -> None:
        """Ping until the client is lost or its connection closed."""
        sent = self._delivery.sent
        while True:
            await self._sleep(self._interval)
            if self._delivery.sent != sent and self._delivery.unsent:
                self.sign_of_life()
            sent = self._delivery.sent
            if self._clock() - self._last_sign > self._timeout:
                self._lost()
                return
            if self._delivery.unsent:
                continue
            try:
                self._ping()
            except WebSocketClosedError:
                return
            sent = self._delivery.sent
