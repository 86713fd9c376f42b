"""A question to a busy kernel, whose place among the kernel's statuses tells what has ended."""

import asyncio
from collections.abc import Callable

from enterprise_gateway.links.link import KernelLink
from enterprise_gateway.links.messages import ParentHeader

__all__ = ["Question"]

# A kernel between two cells answers within milliseconds.
_PATIENCE_SECONDS = 1.0
_FIRST_STATUS_SECONDS = 0.05
_MOST_TIMES = 5


class Question:
    """Asks on the main shell, where a kernel answers when whatever runs there has ended.

    The statuses of the answer stand among those of cells in the order in which the kernel did them; its reply comes by
    another socket, so before or after the statuses of a cell that follows. So the statuses are the proof. Where a
    subscription began too late for them, the kernel is asked again; it is free then.

    Parameters
    ----------
    link
        By which the kernel is asked.
    """

    def __init__(self, *, link: KernelLink) -> None:
        self._link = link
        self._status_seen = asyncio.Event()

    def recognise(self, request: ParentHeader) -> bool:
        """Tell whether a status is of this question's answer, and take note of it."""
        if request.session != self._link.session.session:
            return False
        self._status_seen.set()
        return True

    async def ask(self, *, slow: Callable[[], None]) -> bool:
        """Return when the kernel has answered, and whether its statuses were seen as well.

        Parameters
        ----------
        slow
            Called where the answer takes longer than that of a kernel at rest.

        Raises
        ------
        GatewayError
            There is no socket to ask by.
        """
        patience = _FIRST_STATUS_SECONDS
        for _ in range(_MOST_TIMES):
            await self._answer(slow)
            try:
                async with asyncio.timeout(patience):
                    await self._status_seen.wait()
            except TimeoutError:
                patience *= 2
            else:
                return True
        return False

    async def _answer(self, slow: Callable[[], None]) -> None:
        answer = asyncio.ensure_future(self._link.ask_kernel_info(again=False))
        try:
            await asyncio.wait([answer], timeout=_PATIENCE_SECONDS)
            if not answer.done():
                slow()
            await answer
        finally:
            answer.cancel()
