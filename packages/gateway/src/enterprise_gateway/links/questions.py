"""Questions of the gateway's own to a kernel: whether it answers, and whether its output arrives."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from enterprise_gateway.links.messages import KernelMessage

if TYPE_CHECKING:
    from enterprise_gateway.links.channels import KernelChannels
    from enterprise_gateway.links.supervisor.channels import SupervisorChannels

__all__ = ["KernelQuestions"]

_FIRST_PATIENCE_SECONDS = 1.0
_LONGEST_PATIENCE_SECONDS = 8.0
# The first question is often a few milliseconds too early for its answer's state to be heard.
_FIRST_OUTPUT_INTERVAL = 0.02
_LONGEST_OUTPUT_INTERVAL = 0.5
_OUTPUT_SECONDS = 10.0
_WELCOME_SECONDS = 1.0


class KernelQuestions:
    """Asks a kernel for its description, and takes in the answers, which are no client's.

    Parameters
    ----------
    channels
        Returns by what the kernel is asked.
    """

    def __init__(self, *, channels: "Callable[[], KernelChannels | SupervisorChannels]") -> None:
        self._channels = channels
        self._answers: set[asyncio.Future[dict[str, Any]]] = set()

    async def kernel_info(self, *, again: bool) -> dict[str, Any]:
        """Return the content of the kernel's kernel_info_reply as soon as there is one; the caller sets the deadline.

        The version of the protocol that the kernel speaks is made the session's.

        Parameters
        ----------
        again
            Whether to repeat the question. A kernel that runs a cell answers all of them when it is done.

        Raises
        ------
        Unavailable
            This process can't have another connection.
        """
        with self._answer_expected() as answer:
            # A question may get lost while a kernel begins to listen. One that is slow answers all of them in the end, and
            # every answer is two messages to every client: so they become rare.
            patience = _FIRST_PATIENCE_SECONDS
            while not answer.done():
                self._channels().ask("kernel_info_request")
                await asyncio.wait([answer], timeout=patience if again else None)
                patience = min(2 * patience, _LONGEST_PATIENCE_SECONDS)
        content = answer.result()
        major = str(content.get("protocol_version", "")).partition(".")[0]
        if major.isdecimal():
            self._channels().session.adapt_version = int(major)
        return content

    async def output_arrives(self, *, ask: bool) -> None:
        """Return when the kernel's output is known to arrive, or after a while in which it couldn't be proved.

        A subscription takes a moment to reach the kernel; what is published before that is lost. A kernel of protocol 5.5
        welcomes it; of others, output proves it.

        Parameters
        ----------
        ask
            Whether to make the kernel say something. One that runs a cell isn't asked: its answer would come after that.
        """
        loop, heard = asyncio.get_running_loop(), self._channels().heard
        deadline = loop.time() + (_OUTPUT_SECONDS if ask else _WELCOME_SECONDS)
        interval = _FIRST_OUTPUT_INTERVAL
        while not heard.is_set() and (left := deadline - loop.time()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(interval, left) if ask else left):
                    await heard.wait()
                    return
            if ask:
                self._channels().ask("kernel_info_request")
            interval = min(2 * interval, _LONGEST_OUTPUT_INTERVAL)

    @contextmanager
    def _answer_expected(self) -> Iterator["asyncio.Future[dict[str, Any]]"]:
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers.add(answer)
        try:
            yield answer
        finally:
            self._answers.discard(answer)

    def answered(self, message: KernelMessage) -> None:
        """Take in a reply to a question of the gateway's own."""
        if message.header.msg_type != "kernel_info_reply" or message.by_gateway:
            return
        try:
            content = self._channels().session.unpack(message.parts[3])
        except ValueError:
            self._channels().complain("A message from a kernel was dropped", cause="its content is no JSON")
            return
        for answer in self._answers:
            if not answer.done() and isinstance(content, dict):
                answer.set_result(content)
