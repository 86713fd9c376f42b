"""How many websockets are being set up at one time.

Setting one up makes its kernel and the gateway exchange messages, and each of them reaches every other client of that
kernel. A thousand clients that come back at the same moment, as they do after a restart, would keep the event loop busy
with all of that in one go, and everybody else waiting.
"""

import asyncio

from enterprise_gateway.errors import Unavailable

__all__ = ["SetupQueue", "SetupTurn"]

_RETRY_SECONDS = 5.0


class SetupTurn:
    """The place of a websocket that is being set up."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self._ended = False

    def end(self) -> None:
        """Let the next one begin; may be called twice."""
        if not self._ended:
            self._ended = True
            self._places.release()


class SetupQueue:
    """Lets a bounded number of websockets be set up at one time, in the order in which they came.

    Parameters
    ----------
    places
        How many at one time.
    patience
        Seconds for which one more waits for its turn: less than clients wait for an answer.
    """

    def __init__(self, *, places: int, patience: float = 30.0) -> None:
        self._places = asyncio.Semaphore(places)
        self._patience = patience

    async def turn(self) -> SetupTurn:
        """Return when a websocket may be set up; the caller ends its turn.

        Raises
        ------
        Unavailable
            Too many others are waiting.
        """
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            raise Unavailable(
                "The gateway is setting up as many websockets as it can at one time; try again in a moment.",
                retry_after=_RETRY_SECONDS,
            ) from None
        return SetupTurn(self._places)
