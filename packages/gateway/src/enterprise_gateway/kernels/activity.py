"""Keeps a kernel's state and last activity true from what the kernel publishes.

The gateway listens to every kernel's output itself, so that both are right although no client is connected or a client
reads slowly. What messages mean is decided in `enterprise_gateway_common.kernel_messages`.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from enterprise_gateway.errors import GatewayError
from enterprise_gateway.kernels.channel_socket import ChannelSocket
from enterprise_gateway.kernels.kernel import ExecutionState, Kernel
from enterprise_gateway.kernels.question import Question
from enterprise_gateway_common.kernel_messages.message_types import is_output_activity

if TYPE_CHECKING:
    import zmq

__all__ = ["ActivityMonitor"]

_log = logging.getLogger(__name__)

_DELIMITER = b"<IDS|MSG>"
# Header, parent header, metadata, content; behind the delimiter the signature stands before them.
_FIELDS = 4


class _Header(msgspec.Struct):
    msg_id: str = ""
    msg_type: str = ""
    subshell_id: Any = None


class _StatusContent(msgspec.Struct):
    execution_state: str = ""


_decode_fast = msgspec.json.Decoder(_Header).decode
_decode_status = msgspec.json.Decoder(_StatusContent).decode


def _decode_header(part: bytes) -> _Header:
    try:
        return _decode_fast(part)
    except msgspec.DecodeError:
        # msgspec refuses an escaped lone surrogate, which JavaScript writes, Python reads, and a kernel repeats.
        return msgspec.convert(json.loads(part), _Header)


class _Overlap:
    """Tells when two readers of one kernel's output, each at its own place, have a message in common.

    From then on neither can have missed anything that lies between their places.
    """

    def __init__(self) -> None:
        self._first_own: bytes | None = None
        self._first_told: bytes | None = None

    def own(self, header: bytes) -> bool:
        """Take note of what the one reader has; tell whether the other had it."""
        self._first_own = self._first_own or header
        return header == self._first_told

    def told(self, header: bytes) -> bool:
        """As `own`, for the other reader."""
        self._first_told = self._first_told or header
        return header == self._first_own


class ActivityMonitor:
    """Keeps one kernel's state and time of last activity true from its iopub channel.

    While somebody else reads all of the kernel's output anyway (a client's connection does), that reader lends its eyes
    and the monitor's own subscription rests: the kernel publishes, and this process receives, each message once instead
    of twice. It rests only when both have seen the same message, so nothing is missed. A reader that falls behind gives
    the duty back at once; what is published in that moment may be missed, so the kernel is asked then.

    Parameters
    ----------
    kernel
        The kernel whose state is written.
    """

    def __init__(self, *, kernel: Kernel) -> None:
        self._kernel = kernel
        self._subscription: zmq.Socket[bytes] | None = None
        self._socket: ChannelSocket | None = None
        self._subscribed = False
        self._watchers: dict[object, None] = {}
        self._overlap: _Overlap | None = None
        self._question: Question | None = None
        self._asking: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------------------------------------- its own eyes

    def follow(self) -> None:
        """Listen to where the kernel is now; it is a new process, and what the one before was doing is over."""
        self.close()
        self._kernel.busy_requests.clear()
        self._subscription = self._kernel.open_socket("iopub")
        self._subscribed = True
        self._socket = ChannelSocket(socket=self._subscription, received=self._received)

    def close(self) -> None:
        """Stop listening."""
        self._watchers.clear()
        self._overlap = None
        self.ask_no_more()
        if self._socket is not None:
            self._socket.close()
            self._socket = self._subscription = None

    def _received(self, frames: list[bytes]) -> None:
        fields = _after_delimiter(frames)
        # What was under way when the subscription ended was told by the reader that has the duty.
        if fields is None or not self._subscribed:
            return
        signature, *parts = fields
        # Only what changes a state is checked: the rest is counted, not believed.
        if b'"status"' in parts[0] and self._kernel.session.sign(parts) != signature:
            return
        self._record(parts)
        if self._overlap is not None and self._overlap.own(parts[0]):
            self._rest()

    # -------------------------------------------------------------------------------------------------- others' eyes

    def watched(self, watcher: object) -> None:
        """Let a reader tell what it sees, which is all output from now on."""
        if not self._watchers:
            self._overlap = _Overlap()
        self._watchers[watcher] = None

    def seen(self, watcher: object, parts: Sequence[bytes]) -> None:
        """Take note of a message that a reader saw and checked; the first of several readers is believed."""
        if self._watchers and next(iter(self._watchers)) is watcher:
            self._record(parts[:_FIELDS])
            if self._overlap is not None and self._overlap.told(parts[0]):
                self._rest()

    def unwatched(self, watcher: object) -> None:
        """Look again where a reader doesn't any more."""
        if watcher not in self._watchers:
            return
        was_first = next(iter(self._watchers)) is watcher
        del self._watchers[watcher]
        if not was_first:
            return
        self._overlap = _Overlap() if self._watchers else None
        if self._subscription is not None and not self._subscribed:
            self._subscription.subscribe(b"")
            self._subscribed = True
            self.ask()

    def _rest(self) -> None:
        self._overlap = None
        if self._subscription is not None:
            self._subscription.unsubscribe(b"")
            self._subscribed = False

    def replied(self, request_id: str) -> None:
        """Take note of a reply that a reader saw."""
        self._kernel.busy_requests.replied(request_id)

    # ----------------------------------------------------------------------------------------------------- questions

    def ask(self) -> None:
        """Make sure that the state is right although some output was missed; a question that waits already is enough."""
        if self._asking is None:
            self._question = Question(kernel=self._kernel)
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

    def _record(self, parts: Sequence[bytes]) -> None:
        try:
            header, parent, _, content = parts
            message_type = _decode_header(header).msg_type
            request = _decode_header(parent)
            if message_type == "status":
                self._apply(_decode_status(content).execution_state, request)
        except (ValueError, msgspec.DecodeError, RecursionError) as error:
            fields = {"kernel_id": self._kernel.kernel_id, "cause": str(error)}
            _log.warning("A kernel sent something that isn't a message", extra=fields)
            return
        if is_output_activity(message_type, request.msg_type):
            self._kernel.touch()

    def _apply(self, state: str, request: _Header) -> None:
        kernel = self._kernel
        subshell = None if request.subshell_id is None else str(request.subshell_id)
        kernel.busy_requests.status(state, request_id=request.msg_id, request_type=request.msg_type, subshell=subshell)
        if self._question is not None and self._question.recognise(request.msg_id):
            kernel.busy_requests.reached()
        # A kernel that starts answers the gateway's own question; the end of that, not its beginning, makes it idle.
        if kernel.execution_state == ExecutionState.STARTING and state == ExecutionState.IDLE:
            kernel.answered()
        else:
            kernel.follow_requests()


def _after_delimiter(frames: list[bytes]) -> list[bytes] | None:
    try:
        first = frames.index(_DELIMITER) + 1
    except ValueError:
        return None
    fields = frames[first : first + 1 + _FIELDS]
    return fields if len(fields) == 1 + _FIELDS else None
