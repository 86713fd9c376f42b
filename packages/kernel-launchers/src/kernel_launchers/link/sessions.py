"""Where each client's session stands in the log, and which gateway it is connected to."""

from collections import OrderedDict
from typing import Dict, Optional

from enterprise_gateway_common.kernel_messages.request_ids import bounded_id
from enterprise_gateway_common.message_log import Position

__all__ = ["Sessions"]

_MOST = 256


class _Session:
    __slots__ = ("delivered", "link")

    def __init__(self, delivered: Position) -> None:
        self.delivered = delivered
        self.link: Optional[bytes] = None


class Sessions:
    """Remembers sessions, the one used longest ago first; beyond a bound that one is forgotten.

    One that is forgotten begins at the log's end when it comes back, as a new one does.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._sessions: "OrderedDict[str, _Session]" = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def position(self, session_id: str, *, end: Position) -> Position:
        """Return what a session was delivered everything before; the end of the log for one that is new."""
        return self._known(session_id, end).delivered

    def _known(self, session_id: str, end: Position) -> _Session:
        key = bounded_id(session_id)
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = _Session(end)
            if len(self._sessions) > self._most:
                absent = (known for known, one in self._sessions.items() if one.link is None and known != key)
                del self._sessions[next(absent, next(iter(self._sessions)))]
        self._sessions.move_to_end(key)
        return session

    def attach(self, session_id: str, link: bytes, *, end: Position) -> Optional[bytes]:
        """Note that a session is connected by a link; return the other link by which it was."""
        session = self._known(session_id, end)
        before, session.link = session.link, link
        return before if before != link else None

    def delivered(self, link: bytes, positions: Dict[str, Position]) -> None:
        """Take note of what a link has delivered; of a session that another link has by now it counts where it is more."""
        for session_id, position in positions.items():
            session = self._sessions.get(bounded_id(session_id))
            if session is not None and (session.link in {link, None} or position > session.delivered):
                session.delivered = position

    def detach_all(self, link: bytes) -> None:
        """Note that a link is gone."""
        for session in self._sessions.values():
            if session.link == link:
                session.link = None
