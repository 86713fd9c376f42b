"""Makes sure that a kernel answers and that its output arrives, before the first request of a client is passed on.

A subscription takes a moment to reach the kernel; what is published before that is lost. A request whose output was seen
proves that the moment is over.
"""

import asyncio

from enterprise_gateway.kernels.channel_socket import ChannelSocket
from enterprise_gateway.websocket.kernel import ChannelName, KernelChannels

__all__ = ["nudge"]

# The first question is often a few milliseconds too early; asked again at once, the client doesn't notice.
_FIRST_INTERVAL = 0.02
_WELCOME_SECONDS = 1.0
_ASKED: tuple[ChannelName, ...] = ("shell", "control")


async def nudge(kernel: KernelChannels, output_seen: asyncio.Event, *, interval: float, timeout: float) -> bool:
    """Ask the kernel for its description until it has answered and `output_seen` is set; tell whether that came true.

    Gives up after `timeout` seconds, when the kernel is reached differently, and when it dies. A busy kernel isn't asked:
    the answer would wait for its cell, and on the control channel its "idle" would tell every client that the cell is
    over. It is only given a moment to welcome the subscription, as kernels do that know of it.
    """
    if kernel.execution_state == "busy":
        try:
            async with asyncio.timeout(_WELCOME_SECONDS):
                await output_seen.wait()
        except TimeoutError:
            return False
        return True
    # Sockets of its own, so that no reply which the client didn't ask for reaches the client.
    answered = asyncio.Event()
    sockets: list[ChannelSocket] = []
    generation = kernel.generation
    loop = asyncio.get_running_loop()
    deadline, wait = loop.time() + timeout, min(interval, _FIRST_INTERVAL)
    try:
        for channel in _ASKED:
            sockets.append(ChannelSocket(socket=kernel.open_socket(channel), received=lambda _: answered.set()))  # noqa: PERF401  those opened before a failure must be closed
        while not (answered.is_set() and output_seen.is_set()):
            if kernel.generation != generation or kernel.execution_state == "dead" or loop.time() >= deadline:
                return False
            for socket in sockets:
                socket.send(kernel.session.serialize(kernel.session.msg("kernel_info_request")))
            await _both(answered, output_seen, wait)
            wait = min(interval, 2 * wait)
        return True
    finally:
        for socket in sockets:
            socket.close()


async def _both(one: asyncio.Event, other: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await one.wait()
            await other.wait()
    except TimeoutError:
        return
