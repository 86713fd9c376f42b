"""A question to a busy kernel, whose place among the kernel's statuses tells what has ended."""

import asyncio
from collections.abc import Callable

from enterprise_gateway.kernels.channel_socket import ChannelSocket
from enterprise_gateway.kernels.kernel import Kernel

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
    kernel
        Who is asked.
    """

    def __init__(self, *, kernel: Kernel) -> None:
        self._kernel = kernel
        self._ids: set[str] = set()
        self._status_seen = asyncio.Event()

    def recognise(self, request_id: str) -> bool:
        """Tell whether a status is of this question's answer, and take note of it."""
        if request_id not in self._ids:
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
        session = self._kernel.session
        answered = asyncio.Event()

        def received(frames: list[bytes]) -> None:
            _, parts = session.feed_identities(frames)
            try:
                message = session.deserialize(parts)
            except ValueError:
                # Not signed with this kernel's key: from nobody that was asked.
                return
            if message["parent_header"].get("msg_id") in self._ids:
                answered.set()

        socket = ChannelSocket(socket=self._kernel.open_socket("shell"), received=received)
        try:
            patience = _FIRST_STATUS_SECONDS
            for _ in range(_MOST_TIMES):
                answered.clear()
                message = session.msg("kernel_info_request")
                self._ids.add(message["header"]["msg_id"])
                socket.send(session.serialize(message))
                if not await _within(answered, _PATIENCE_SECONDS):
                    slow()
                    await answered.wait()
                if await _within(self._status_seen, patience):
                    return True
                patience *= 2
            return False
        finally:
            socket.close()


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
