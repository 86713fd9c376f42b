"""Whether a kernel answers: the one proof that it has started."""

import asyncio
from typing import Any

from enterprise_gateway.kernels.channel_socket import ChannelSocket
from enterprise_gateway.kernels.kernel import Kernel

__all__ = ["wait_until_it_answers"]

_FIRST_PATIENCE_SECONDS = 1.0
_LONGEST_PATIENCE_SECONDS = 8.0


async def wait_until_it_answers(kernel: Kernel) -> dict[str, Any]:
    """Return the content of the kernel's kernel_info_reply as soon as there is one; the caller sets the deadline.

    The version of the protocol that the kernel speaks is made the session's.
    """
    session = kernel.session
    answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def received(frames: list[bytes]) -> None:
        _, parts = session.feed_identities(frames)
        try:
            message = session.deserialize(parts)
        except ValueError:
            # Not signed with this kernel's key: from nobody that we asked.
            return
        if message["msg_type"] == "kernel_info_reply" and not answered.done():
            answered.set_result(message["content"])

    socket = ChannelSocket(socket=kernel.open_socket("shell"), received=received)
    try:
        # A question may get lost while a kernel begins to listen. One that is slow answers all of them in the end, and
        # every answer is two messages to every client: so they become rare.
        patience = _FIRST_PATIENCE_SECONDS
        while not answered.done():
            socket.send(session.serialize(session.msg("kernel_info_request")))
            await asyncio.wait([answered], timeout=patience)
            patience = min(2 * patience, _LONGEST_PATIENCE_SECONDS)
    finally:
        socket.close()
    content = answered.result()
    major = str(content.get("protocol_version", "")).partition(".")[0]
    if major.isdecimal():
        session.adapt_version = int(major)
    return content
