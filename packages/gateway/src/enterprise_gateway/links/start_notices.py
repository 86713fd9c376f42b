"""What clients are told of a kernel that isn't up: beside its log, because the kernel said nothing of it.

The first cell of a session that waits shows one line that says what is waited for. It is output that the next output of the
cell replaces, and it is taken away when the cell runs, so that nothing of it stays in a notebook.
"""

import asyncio
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import partial
from typing import Protocol

import msgspec
from jupyter_client.session import Session

from enterprise_gateway.links import notices
from enterprise_gateway.links.messages import KernelMessage
from enterprise_gateway.links.requests import HeldMessage
from enterprise_gateway_common.kernel_messages.message_types import EXECUTE_REQUEST

__all__ = ["CallLater", "StartNotices", "Timer", "Told"]

# A start that is over sooner needs no explanation.
_FIRST_SECONDS = 2.0
_AGAIN_SECONDS = 1.0
# A client that has just connected is yet to ask what it came for, and JupyterLab lets go of a kernel as soon as it's dead: the
# cell that it was about to send would end without a word.
_DEAD_AFTER_SECONDS = 3.0
_STARTS = "Waiting for the kernel to start."
# Of more sessions, or of clients that send such headers, nobody reads a line.
_MOST_SESSIONS = 256
_LONGEST_HEADER = 16 * 1024
_MOST_DECODED = 1 << 20


class Timer(Protocol):
    """Something that is to happen later."""

    def cancel(self) -> None:
        """Let it not happen."""


class CallLater(Protocol):
    """Has something happen later."""

    def __call__(self, seconds: float, callback: Callable[[], None], /) -> Timer:
        """Call something after some seconds."""


class Told(StrEnum):
    """States of a kernel that stand in no log; the words are those of Jupyter's protocol."""

    STARTING = "starting"
    DEAD = "dead"


class _ExecuteContent(msgspec.Struct):
    silent: bool = False
    store_history: bool = True


_decode_content = msgspec.json.Decoder(_ExecuteContent).decode


class _Line:
    __slots__ = ("parent", "text", "was_shown")

    def __init__(self, parent: bytes) -> None:
        self.parent = parent
        self.text: str | None = None  # what the client shows now, as far as it is known
        self.was_shown = False


class StartNotices:
    """Tells clients that a kernel starts, what it waits for, and that it never will be up.

    Parameters
    ----------
    session
        Returns who makes the gateway's own messages.
    state
        Returns what a client that connects is to be told of the kernel; nothing of one that is up, or was.
    words
        Returns what the kernel waits for, in the words for its user; nothing where nobody knows.
    show
        Gives a message to the client of a session, and tells whether it took it.
    call_later
        Has something happen later.
    """

    def __init__(
        self,
        *,
        session: Callable[[], Session],
        state: Callable[[], Told | None],
        words: Callable[[], str | None],
        show: Callable[[str, KernelMessage], bool],
        call_later: CallLater | None = None,
    ) -> None:
        self._session = session
        self._state = state
        self._words = words
        self._show = show
        self._call_later = call_later or _call_later
        self._lines: dict[str, _Line] = {}
        self._cleared: dict[str, _Line] = {}  # means: its client is yet to be told
        self._timer: Timer | None = None

    # -------------------------------------------------------------------------------------------------------- sessions

    def connected(self, session_id: str) -> None:
        """Tell a client that has just connected how the kernel is, and take away what it was shown and isn't true any more."""
        line = self._cleared.pop(session_id, None)
        if line is not None:
            self._show(session_id, notices.clear_output(parent=line.parent, session=self._session()))
        waiting = self._lines.get(session_id)
        if waiting is not None:
            # It may have been lost with the connection.
            waiting.text = None
        match self._state():
            case Told.STARTING:
                self._tell(session_id, Told.STARTING)
            case Told.DEAD:
                self.never_up([session_id])

    def never_up(self, session_ids: Iterable[str]) -> None:
        """Tell clients that the kernel is dead, once they could ask why."""
        for session_id in session_ids:
            self._call_later(_DEAD_AFTER_SECONDS, partial(self._tell, session_id, Told.DEAD))

    def _tell(self, session_id: str, state: Told) -> None:
        # Somebody may have had it started again meanwhile.
        if self._state() is state:
            self._show(session_id, notices.status(state, session=self._session()))

    # ----------------------------------------------------------------------------------------------------------- cells

    def waits(self, message: HeldMessage) -> None:
        """Take note of a request that waits for the kernel."""
        full = len(self._lines) + len(self._cleared) >= _MOST_SESSIONS
        if full or message.session_id in self._lines or not _is_a_cell(message):
            return
        self._lines[message.session_id] = _Line(message.parts[0])
        if self._timer is None:
            self._timer = self._call_later(_FIRST_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = self._call_later(_AGAIN_SECONDS, self._look)
        text = self._words() or _STARTS
        for session_id, line in self._lines.items():
            if line.text != text and self._show(session_id, notices.waiting(text, parent=line.parent, session=self._session())):
                line.text, line.was_shown = text, True
                # Whatever is shown below the cell next takes its place, though nobody should be left to clear it.
                self._show(session_id, notices.clear_output(parent=line.parent, session=self._session(), wait=True))

    def over(self) -> None:
        """Take the lines away: nothing waits any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, {}
        for session_id, line in lines.items():
            if not line.was_shown:
                continue
            if not self._show(session_id, notices.clear_output(parent=line.parent, session=self._session())):
                self._cleared[session_id] = line

    def close(self) -> None:
        """Tell nobody anything more."""
        self.over()
        self._cleared.clear()


def _call_later(seconds: float, callback: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, callback)


def _is_a_cell(message: HeldMessage) -> bool:
    """Tell whether a request runs what a user sees: programs that ask for something themselves keep it out of the history."""
    if message.header.msg_type != EXECUTE_REQUEST or len(message.parts[0]) > _LONGEST_HEADER:
        return False
    if len(message.parts[3]) > _MOST_DECODED:
        return True
    try:
        content = _decode_content(message.parts[3])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return content.store_history and not content.silent
