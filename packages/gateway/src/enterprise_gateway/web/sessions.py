"""/api/sessions: documents and their kernels, for clients that leave this to the server."""

from contextlib import suppress
from http import HTTPStatus
from typing import ClassVar

from enterprise_gateway.errors import BadRequest, KernelNotFound
from enterprise_gateway.kernels.kernel import Kernel
from enterprise_gateway.kernels.registry import Kernels
from enterprise_gateway.kernels.requests import StartRequest
from enterprise_gateway.kernels.sessions import Session, Sessions
from enterprise_gateway.web.base import Edge
from enterprise_gateway.web.kernels import PREFER, StartingHandler, check_listing
from enterprise_gateway.web.models import ErrorModel, NewSession, SessionChange, SessionKernel, SessionModel
from enterprise_gateway.web.operations import Operation

__all__ = ["SessionHandler", "SessionsHandler"]

_TAG = "sessions"
_ACCESS = {401: ErrorModel, 403: ErrorModel}
_MISSING = {**_ACCESS, 404: ErrorModel}
_BODY = dict.fromkeys((400, 413, 415), ErrorModel)
_START = {**_MISSING, **_BODY, **dict.fromkeys((409, 410, 500, 501, 503), ErrorModel)}


class SessionsHandler(StartingHandler):
    """All sessions."""

    operations: ClassVar = {
        "get": Operation(summary="List sessions", responses={200: list[SessionModel], **_ACCESS, 503: ErrorModel}, tag=_TAG),
        "post": Operation(
            summary="Make a session, with a new kernel or a running one; a document's existing session is returned",
            request=NewSession,
            headers=(PREFER,),
            responses={201: SessionModel, 202: SessionModel, **_START},
            tag=_TAG,
        ),
    }

    def initialize(self, *, edge: Edge, sessions: Sessions, kernels: Kernels, list_kernels: bool) -> None:  # type: ignore[override]  # each handler names its services
        """Take the services."""
        super().initialize(edge=edge)
        self._sessions, self._kernels, self._list_kernels = sessions, kernels, list_kernels

    def get(self) -> None:
        """Answer with every session that the caller may see."""
        check_listing(allowed=self._list_kernels)
        self._kernels.check_synced()
        self.write_json([session.model() for session in self._sessions.all(self.identity)])

    async def post(self) -> None:
        """Make a session and answer when its kernel can be used, or its client doesn't wait any longer."""
        session: Session = await self.until_client_leaves(self._session(self.body_as(NewSession)))
        self.set_header("Location", f"{self.edge.base_url}api/sessions/{session.session_id}")
        self.write_json(session.model(), self.status_of(session.kernel, done=HTTPStatus.CREATED))

    async def _session(self, body: NewSession) -> Session:
        async with self._sessions.turn(body.path, body.type, self.identity):
            session = self._sessions.find(body.path, body.type, self.identity)
            if session is not None:
                await self._kernels.join(session.kernel, self._start_request(body))
                # Who asks for a document's session wants one whose kernel works.
                await self._kernels.forget_dead(session.kernel)
                session = self._sessions.find(body.path, body.type, self.identity)
            if session is None:
                self._sessions.check_place()
                kernel = await self._kernel(body)
                session = self._sessions.add(path=body.path, name=body.name, type_=body.type, kernel=kernel)
            return session

    async def _kernel(self, body: NewSession) -> Kernel:
        if body.kernel.id is not None:
            return await self._kernels.find(body.kernel.id, self.identity)
        kernel, _ = await self._kernels.start(self._start_request(body), self.identity)
        return kernel

    def _start_request(self, body: NewSession) -> StartRequest:
        preferences = self.preferences
        return StartRequest(
            kernel_name=body.kernel.name,
            env={**body.env, **body.kernel.env},
            respond_async=preferences.respond_async,
            wait=preferences.wait,
        )


class SessionHandler(StartingHandler):
    """One session."""

    operations: ClassVar = {
        "get": Operation(summary="Look at a session", responses={200: SessionModel, **_MISSING}, tag=_TAG),
        "patch": Operation(
            summary="Rename a session or give it another kernel",
            request=SessionChange,
            responses={200: SessionModel, **_START},
            tag=_TAG,
        ),
        "delete": Operation(
            summary="End a session and its kernel",
            responses={204: None, **_MISSING, **dict.fromkeys((410, 500, 503), ErrorModel)},
            tag=_TAG,
        ),
    }

    def initialize(self, *, edge: Edge, sessions: Sessions, kernels: Kernels) -> None:  # type: ignore[override]  # each handler names its services
        """Take the services."""
        super().initialize(edge=edge)
        self._sessions, self._kernels = sessions, kernels

    def get(self, session_id: str) -> None:
        """Answer with one session."""
        self.write_json(self._sessions.get(session_id, self.identity).model())

    async def patch(self, session_id: str) -> None:
        """Change one session."""
        body = self.body_as(SessionChange)
        before = self._sessions.get(session_id, self.identity)
        named = {"path": body.path, "name": body.name, "type": body.type}
        changes: dict[str, object] = {key: value for key, value in named.items() if value is not None}
        if body.kernel is not None:
            changes["kernel"] = await self._other_kernel(body.kernel)
        session = self._sessions.change(session_id, self.identity, **changes)
        # A client that changes a document's kernel forgets the one before; where nobody else has it, it would run for ever.
        if before.kernel is not session.kernel and not self._sessions.uses(before.kernel.kernel_id):
            with suppress(KernelNotFound):
                await self._kernels.shutdown(before.kernel.kernel_id, self.identity)
        self.write_json(session.model())

    async def _other_kernel(self, wanted: SessionKernel) -> Kernel:
        if wanted.id is not None:
            return await self._kernels.find(wanted.id, self.identity)
        if wanted.name is None:
            raise BadRequest("kernel must have an id or a name.")
        request = StartRequest(kernel_name=wanted.name, env=wanted.env)
        kernel, _ = await self.until_client_leaves(self._kernels.start(request, self.identity))
        started: Kernel = kernel
        return started

    async def delete(self, session_id: str) -> None:
        """End one session."""
        await self._sessions.end(session_id, self.identity)
        self.set_status(HTTPStatus.NO_CONTENT)
        self.finish()
