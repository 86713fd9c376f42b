"""What a kernel's own messages say of it: idle or busy, and when something last happened.

The gateway listens to every kernel's output itself, so that a kernel's state is right although no client is connected
or a client reads slowly.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from enterprise_gateway.kernels.channel_socket import ChannelSocket
from enterprise_gateway.kernels.kernel import ExecutionState, Kernel
from enterprise_gateway.kernels.readiness import prove_idle

if TYPE_CHECKING:
    import zmq

__all__ = ["ActivityMonitor"]

_log = logging.getLogger(__name__)

_DELIMITER = b"<IDS|MSG>"
# Header, parent header, metadata, content; behind the delimiter the signature stands before them.
_FIELDS = 4

# What clients ask all the time without anybody at work; answering it is no activity and makes no kernel busy.
_UNTRACKED = frozenset(
    {
        "comm_info_request",
        "comm_info_reply",
        "kernel_info_request",
        "kernel_info_reply",
        "shutdown_request",
        "shutdown_reply",
        "interrupt_request",
        "interrupt_reply",
        "debug_request",
        "debug_reply",
        "iopub_welcome",
    }
)

# States that only the gateway itself may end: a message that was still under way must not bring a dead kernel to life.
_OWN_STATES = frozenset({ExecutionState.RESTARTING, ExecutionState.DEAD})


class _Header(msgspec.Struct):
    msg_type: str = ""


class _StatusContent(msgspec.Struct):
    execution_state: str = ""


_decode_header = msgspec.json.Decoder(_Header).decode
_decode_status = msgspec.json.Decoder(_StatusContent).decode


class ActivityMonitor:
    """Keeps one kernel's state and time of last activity true from its iopub channel.

    While somebody else reads all of the kernel's output anyway (a client's connection does), that reader lends its eyes
    and the monitor's own subscription rests: the kernel publishes, and this process receives, each message once instead
    of twice. A reader that falls behind gives the duty back at once. What is published in the moment of a change may be
    missed, so a kernel that is busy then is asked whether it is idle: it answers when it is.

    Parameters
    ----------
    kernel
        The kernel whose state is written.
    """

    def __init__(self, *, kernel: Kernel) -> None:
        self._kernel = kernel
        self._generation = -1
        self._subscription: zmq.Socket[bytes] | None = None
        self._socket: ChannelSocket | None = None
        self._watchers: dict[object, None] = {}
        self._question: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------------------------------------- its own eyes

    def follow(self) -> None:
        """Listen to where the kernel is now; does nothing when that is where it listens already."""
        if self._socket is not None and self._generation == self._kernel.generation:
            return
        self.close()
        self._generation = self._kernel.generation
        self._subscription = self._kernel.open_socket("iopub")
        self._socket = ChannelSocket(socket=self._subscription, received=self._received)

    def close(self) -> None:
        """Stop listening."""
        self._watchers.clear()
        if self._question is not None:
            self._question.cancel()
            self._question = None
        if self._socket is not None:
            self._socket.close()
            self._socket = self._subscription = None

    def _received(self, frames: list[bytes]) -> None:
        fields = _after_delimiter(frames)
        # What was under way when somebody took over is theirs to tell.
        if fields is None or self._watchers:
            return
        signature, *parts = fields
        # Only what changes a state is checked: the rest is counted, not believed.
        if b'"status"' in parts[0] and self._kernel.session.sign(parts) != signature:
            return
        self._record(parts)

    # -------------------------------------------------------------------------------------------------- others' eyes

    def watched(self, watcher: object) -> None:
        """Let a reader tell what it sees, which is all output from now on."""
        if not self._watchers and self._socket is not None and self._subscription is not None:
            self._socket.drain()
            self._subscription.unsubscribe(b"")
            self._ask_if_busy()
        self._watchers[watcher] = None

    def seen(self, watcher: object, parts: Sequence[bytes]) -> None:
        """Take note of a message that a reader saw and checked; the first of several readers is believed."""
        if self._watchers and next(iter(self._watchers)) is watcher:
            self._record(parts[:_FIELDS])

    def unwatched(self, watcher: object) -> None:
        """Look again where a reader doesn't any more."""
        if watcher not in self._watchers:
            return
        del self._watchers[watcher]
        if not self._watchers and self._subscription is not None:
            self._subscription.subscribe(b"")
            self._ask_if_busy()

    def _ask_if_busy(self) -> None:
        """Make sure that a cell's end which fell between two pairs of eyes is noticed."""
        if self._kernel.execution_state == ExecutionState.BUSY and self._question is None:
            self._question = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        try:
            await prove_idle(self._kernel)
        finally:
            self._question = None

    # ------------------------------------------------------------------------------------------------------ messages

    def _record(self, parts: Sequence[bytes]) -> None:
        try:
            header, parent, _, content = parts
            message_type = _decode_header(header).msg_type
            parent_type = _decode_header(parent).msg_type
            tracked = message_type not in _UNTRACKED and parent_type not in _UNTRACKED
            if message_type == "status":
                self._apply(_decode_status(content).execution_state, tracked=tracked)
        except (ValueError, msgspec.DecodeError) as error:
            fields = {"kernel_id": self._kernel.kernel_id, "cause": str(error)}
            _log.warning("A kernel sent something that isn't a message", extra=fields)
            return
        if tracked or self._kernel.execution_state == ExecutionState.BUSY:
            self._kernel.touch()

    def _apply(self, state: str, *, tracked: bool) -> None:
        kernel = self._kernel
        if kernel.execution_state in _OWN_STATES or state not in {ExecutionState.IDLE, ExecutionState.BUSY}:
            return
        # A kernel that starts answers the gateway's own question; the end of that, not its beginning, makes it idle.
        if tracked or (kernel.execution_state == ExecutionState.STARTING and state == ExecutionState.IDLE):
            kernel.execution_state = ExecutionState(state)


def _after_delimiter(frames: list[bytes]) -> list[bytes] | None:
    try:
        first = frames.index(_DELIMITER) + 1
    except ValueError:
        return None
    fields = frames[first : first + 1 + _FIELDS]
    return fields if len(fields) == 1 + _FIELDS else None
