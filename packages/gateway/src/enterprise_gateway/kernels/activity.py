"""Keeps a kernel's state and last activity true from what the kernel says.

The gateway reads every kernel's output, so both are right although no client is connected or one reads slowly. What
messages mean is decided in `enterprise_gateway_common.kernel_messages`.
"""

import asyncio
import logging

import msgspec

from enterprise_gateway.errors import GatewayError
from enterprise_gateway.kernels.kernel import ExecutionState, Kernel
from enterprise_gateway.kernels.question import Question
from enterprise_gateway.links.messages import KernelMessage
from enterprise_gateway_common.kernel_messages.message_types import is_output_activity

__all__ = ["ActivityMonitor"]

_log = logging.getLogger(__name__)

_REPLIES = frozenset({"shell", "control"})


class _StatusContent(msgspec.Struct):
    execution_state: str = ""


_decode_status = msgspec.json.Decoder(_StatusContent).decode


class ActivityMonitor:
    """Keeps one kernel's state and time of last activity true from its messages.

    Parameters
    ----------
    kernel
        The kernel whose state is written.
    """

    def __init__(self, *, kernel: Kernel) -> None:
        self._kernel = kernel
        self._question: Question | None = None
        self._asking: asyncio.Task[None] | None = None
        kernel.link.observe(self.seen)

    # ----------------------------------------------------------------------------------------------------- questions

    def ask(self) -> None:
        """Make sure that the state is right although some output was missed; a question that waits already is enough."""
        if self._asking is None:
            self._question = Question(link=self._kernel.link)
            self._asking = asyncio.create_task(self._ask(self._question))

    def ask_no_more(self) -> None:
        """Give up a question that waits for its answer."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = self._question = None

    async def _ask(self, question: Question) -> None:
        try:
            seen = await question.ask(slow=self._is_busy_unseen)
        except GatewayError as error:
            # Without a socket to ask by, the state stays what it was until the kernel says more.
            fields = {"kernel_id": self._kernel.kernel_id, "cause": error.message}
            _log.warning("A kernel can't be asked what it does", extra=fields)
        else:
            # Statuses were taken note of where they stand among others; a kernel that publishes none is believed its reply.
            if not seen:
                self._kernel.busy_requests.reached()
                self._kernel.follow_requests()
        finally:
            if self._question is question:
                self._asking = self._question = None

    def _is_busy_unseen(self) -> None:
        """Take a kernel that doesn't answer for busy: a cell may have begun in a moment that nobody saw."""
        self._kernel.busy_requests.assume()
        self._kernel.follow_requests()

    # ------------------------------------------------------------------------------------------------------ messages

    def seen(self, message: KernelMessage) -> None:
        """Take note of a message of the kernel."""
        if message.channel in _REPLIES:
            self._kernel.busy_requests.replied(message.parent.msg_id)
        if message.channel != "iopub":
            return
        if message.header.msg_type == "status":
            try:
                state = _decode_status(message.parts[3]).execution_state
            except (ValueError, msgspec.DecodeError, RecursionError) as error:
                fields = {"kernel_id": self._kernel.kernel_id, "cause": str(error)}
                _log.warning("A kernel sent something that isn't a message", extra=fields)
                return
            self._apply(state, message)
        if is_output_activity(message.header.msg_type, message.parent.msg_type):
            self._kernel.touch()

    def _apply(self, state: str, message: KernelMessage) -> None:
        kernel, request = self._kernel, message.parent
        subshell = None if request.subshell_id is None else str(request.subshell_id)
        kernel.busy_requests.status(state, request_id=request.msg_id, request_type=request.msg_type, subshell=subshell)
        if self._question is not None and self._question.recognise(request):
            kernel.busy_requests.reached()
        # A kernel that starts answers the gateway's own question; the end of that, not its beginning, makes it idle.
        if kernel.execution_state == ExecutionState.STARTING and state == ExecutionState.IDLE:
            kernel.answered()
        else:
            kernel.follow_requests()
