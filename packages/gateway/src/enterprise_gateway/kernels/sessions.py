"""Sessions: which document of a client belongs to which kernel. Kept in memory, as long as the kernel lives."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from enterprise_gateway.errors import Gone, KernelNotFound, SessionNotFound, Unavailable
from enterprise_gateway.identity import Identity
from enterprise_gateway.kernels.kernel import Kernel
from enterprise_gateway.kernels.registry import Kernels

__all__ = ["Session", "Sessions"]

_Document = tuple[str, str, Identity]


@dataclass(frozen=True, kw_only=True)
class Session:
    """One document and its kernel."""

    session_id: str
    path: str
    name: str
    type: str
    kernel: Kernel

    def model(self) -> dict[str, Any]:
        """Return the JSON object that Jupyter clients expect of a session."""
        model: dict[str, Any] = {
            "id": self.session_id,
            "path": self.path,
            "name": self.name,
            "type": self.type,
            "kernel": self.kernel.model(),
        }
        if self.type == "notebook":
            model["notebook"] = {"path": self.path, "name": self.name}
        return model


class Sessions:
    """Keeps sessions; a session whose kernel is gone is gone too.

    Parameters
    ----------
    kernels
        The kernels that sessions refer to.
    maximum
        How many sessions are kept at one time.
    """

    def __init__(self, *, kernels: Kernels, maximum: int) -> None:
        self._kernels = kernels
        self._maximum = maximum
        self._sessions: dict[str, Session] = {}
        self._turns: dict[_Document, asyncio.Lock] = {}
        self._waiting: Counter[_Document] = Counter()
        kernels.table.on_forgotten(self._kernel_forgotten)

    def all(self, identity: Identity) -> list[Session]:
        """Return the sessions that a caller may see, the oldest first."""
        return [session for session in self._sessions.values() if identity.may_use(session.kernel.user)]

    def find(self, path: str, type_: str, identity: Identity) -> Session | None:
        """Return the session of a document, as a client that asks twice expects it."""
        found = (session for session in self.all(identity) if (session.path, session.type) == (path, type_))
        return next(found, None)

    @asynccontextmanager
    async def turn(self, path: str, type_: str, identity: Identity) -> AsyncGenerator[None]:
        """Let those who ask for a document's session at once have it one after the other, so that it gets one kernel."""
        document = path, type_, identity
        turn = self._turns.setdefault(document, asyncio.Lock())
        self._waiting[document] += 1
        try:
            async with turn:
                yield
        finally:
            self._waiting[document] -= 1
            if not self._waiting[document]:
                del self._waiting[document], self._turns[document]

    def get(self, session_id: str, identity: Identity) -> Session:
        """Return one session.

        Raises
        ------
        SessionNotFound
            There is none of this id that the caller may see.
        """
        session = self._sessions.get(session_id)
        if session is None or not identity.may_use(session.kernel.user):
            raise SessionNotFound(session_id)
        session.kernel.claim()
        return session

    def check_place(self) -> None:
        """Return when one more session can be kept.

        Raises
        ------
        Unavailable
            There are too many.
        """
        if len(self._sessions) >= self._maximum:
            raise Unavailable(f"No more sessions can be kept: {self._maximum} exist.")

    def add(self, *, path: str, name: str, type_: str, kernel: Kernel) -> Session:
        """Return a new session of a kernel."""
        session = Session(session_id=str(uuid.uuid4()), path=path, name=name, type=type_, kernel=kernel)
        self._sessions[session.session_id] = session
        return session

    def change(self, session_id: str, identity: Identity, **changes: object) -> Session:
        """Return a session after the changes: `path`, `name`, `type`, `kernel`.

        Raises
        ------
        SessionNotFound
            There is none of this id that the caller may see.
        """
        session = replace(self.get(session_id, identity), **changes)  # type: ignore[arg-type]  # the handler names the fields
        self._sessions[session_id] = session
        return session

    def uses(self, kernel_id: str) -> bool:
        """Tell whether there is a session of a kernel."""
        return any(session.kernel.kernel_id == kernel_id for session in self._sessions.values())

    async def end(self, session_id: str, identity: Identity) -> None:
        """End a session and its kernel.

        Raises
        ------
        SessionNotFound
            There is none of this id that the caller may see.
        Gone
            Its kernel had ended already; the session is removed all the same.
        """
        session = self.get(session_id, identity)
        try:
            await self._kernels.shutdown(session.kernel.kernel_id, identity)
        except KernelNotFound as error:
            raise Gone("Kernel deleted before session") from error
        finally:
            self._sessions.pop(session_id, None)

    def _kernel_forgotten(self, kernel_id: str) -> None:
        """Drop the sessions of a kernel that doesn't exist any more."""
        for session in tuple(self._sessions.values()):
            if session.kernel.kernel_id == kernel_id:
                del self._sessions[session.session_id]
