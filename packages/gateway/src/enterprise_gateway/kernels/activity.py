"""What a kernel's own messages say of it: idle or busy, and when something last happened.

The gateway listens to every kernel's output itself, so that a kernel's state is right although no client is connected
or a client reads slowly.
"""

import logging

import msgspec

from enterprise_gateway.kernels.channel_socket import ChannelSocket
from enterprise_gateway.kernels.kernel import ExecutionState, Kernel

__all__ = ["ActivityMonitor"]

_log = logging.getLogger(__name__)

_DELIMITER = b"<IDS|MSG>"
# Signature, header, parent header, metadata, content.
_FIELDS_AFTER_DELIMITER = 5

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

    Parameters
    ----------
    kernel
        The kernel whose state is written.
    """

    def __init__(self, *, kernel: Kernel) -> None:
        self._kernel = kernel
        self._generation = -1
        self._socket: ChannelSocket | None = None

    def follow(self) -> None:
        """Listen to where the kernel is now; does nothing when that is where it listens already."""
        if self._socket is not None and self._generation == self._kernel.generation:
            return
        self.close()
        self._generation = self._kernel.generation
        self._socket = ChannelSocket(socket=self._kernel.open_socket("iopub"), received=self._received)

    def close(self) -> None:
        """Stop listening."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _received(self, frames: list[bytes]) -> None:
        try:
            self._record(frames)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.warning(
                "A kernel sent something that isn't a message", extra={"kernel_id": self._kernel.kernel_id, "cause": str(error)}
            )

    def _record(self, frames: list[bytes]) -> None:
        parts = _after_delimiter(frames)
        if parts is None:
            return
        signature, header, parent, metadata, content = parts
        message_type = _decode_header(header).msg_type
        parent_type = _decode_header(parent).msg_type
        tracked = message_type not in _UNTRACKED and parent_type not in _UNTRACKED
        if message_type == "status":
            # Only what changes a state is checked: the rest is counted, not believed.
            if self._kernel.session.sign([header, parent, metadata, content]) != signature:
                return
            self._apply(_decode_status(content).execution_state, tracked=tracked)
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
    fields = frames[first : first + _FIELDS_AFTER_DELIMITER]
    return fields if len(fields) == _FIELDS_AFTER_DELIMITER else None
