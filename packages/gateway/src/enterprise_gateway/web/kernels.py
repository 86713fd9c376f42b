"""/api/kernels: start, list, look at, interrupt, restart and end kernels."""

import asyncio
from http import HTTPStatus
from typing import Any, ClassVar

from tornado.web import Finish

from enterprise_gateway.errors import Forbidden
from enterprise_gateway.kernels.kernel import ExecutionState, Kernel
from enterprise_gateway.kernels.registry import Kernels
from enterprise_gateway.kernels.requests import StartRequest
from enterprise_gateway.web.base import Edge, JsonHandler
from enterprise_gateway.web.models import ErrorModel, KernelModel, NewKernel
from enterprise_gateway.web.operations import HeaderParameter, Operation
from enterprise_gateway.web.preferences import PREFER_HEADER, RESPOND_ASYNC, Preferences, preferences_of

__all__ = ["PREFER", "InterruptHandler", "KernelHandler", "KernelsHandler", "RestartHandler", "StartingHandler", "check_listing"]

PREFER = HeaderParameter(
    name=PREFER_HEADER,
    description="`respond-async` (RFC 7240): answer with 202 as soon as nothing of the start can be refused any more; with "
    "`wait=10` only where it takes longer than ten seconds.",
)
"""What a client may say that starts a kernel."""

_TAG = "kernels"
_ACCESS = {401: ErrorModel, 403: ErrorModel}
_CLIENT_LEFT = 499  # as proxies log it; no client ever sees it
_MISSING = {**_ACCESS, 404: ErrorModel}


def check_listing(*, allowed: bool) -> None:
    """Return where the administrator lets clients list what runs.

    Raises
    ------
    Forbidden
        Listing is off.
    """
    if not allowed:
        raise Forbidden("Listing what runs is switched off; EG_LIST_KERNELS=True allows it, and JupyterLab needs it.")


class StartingHandler(JsonHandler):
    """Base of handlers that start a kernel: the start ends when its client goes away."""

    def initialize(self, *, edge: Edge) -> None:
        """Take the services."""
        super().initialize(edge=edge)
        self._work: asyncio.Task[Any] | None = None
        self._left = False

    async def until_client_leaves(self, work: Any) -> Any:  # noqa: ANN401  any coroutine and its result
        """Return a coroutine's result, or cancel it when the connection is closed."""
        self._work = asyncio.ensure_future(work)
        try:
            return await self._work
        except asyncio.CancelledError:
            if not self._left:
                raise
            # Nobody is there to be answered, and nothing failed.
            self.set_status(_CLIENT_LEFT, "Client Closed Request")
            raise Finish from None

    @property
    def preferences(self) -> Preferences:
        """What the client prefers."""
        return preferences_of(",".join(self.request.headers.get_list(PREFER_HEADER)))

    def status_of(self, kernel: Kernel, *, done: HTTPStatus) -> HTTPStatus:
        """Return the status of an answer to who wanted a kernel, and tell which preference made it so.

        Parameters
        ----------
        done
            That of an answer that nothing is left to be done for, or whose client doesn't know of any other.
        """
        if not self.preferences.respond_async or kernel.execution_state != ExecutionState.STARTING:
            return done
        self.set_header("Preference-Applied", RESPOND_ASYNC)
        return HTTPStatus.ACCEPTED

    def on_connection_close(self) -> None:
        """Give up what nobody waits for any more."""
        super().on_connection_close()
        self._left = True
        if self._work is not None:
            self._work.cancel()


class KernelsHandler(StartingHandler):
    """All kernels."""

    operations: ClassVar = {
        "get": Operation(summary="List kernels", responses={200: list[KernelModel], **_ACCESS, 503: ErrorModel}, tag=_TAG),
        "post": Operation(
            summary="Start a kernel; answers when it can be used, or at once where the client or the administrator wants that",
            request=NewKernel,
            headers=(PREFER,),
            responses={
                200: KernelModel,
                201: KernelModel,
                202: KernelModel,
                **_MISSING,
                **dict.fromkeys((400, 409, 410, 413, 415, 500, 501, 503), ErrorModel),
            },
            tag=_TAG,
        ),
    }

    def initialize(self, *, edge: Edge, kernels: Kernels, list_kernels: bool, kernel_headers: tuple[str, ...]) -> None:  # type: ignore[override]  # each handler names its services
        """Take the services."""
        super().initialize(edge=edge)
        self._kernels, self._list_kernels, self._kernel_headers = kernels, list_kernels, kernel_headers

    def get(self) -> None:
        """Answer with every kernel that the caller may see."""
        check_listing(allowed=self._list_kernels)
        self._kernels.check_synced()
        self.write_json([kernel.model() for kernel in self._kernels.all(self.identity)])

    async def post(self) -> None:
        """Start a kernel and answer when it can be used, or its client doesn't wait any longer."""
        body = self.body_as(NewKernel)
        headers = {name: self.request.headers[name] for name in self._kernel_headers if name in self.request.headers}
        # As Jupyter Server's own API has it.
        chosen_id = {} if body.kernel_id is None else {"KERNEL_ID": body.kernel_id}
        preferences = self.preferences
        request = StartRequest(
            kernel_name=body.name,
            env={**chosen_id, **body.env},
            headers=headers,
            respond_async=preferences.respond_async,
            wait=preferences.wait,
        )
        kernel, new = await self.until_client_leaves(self._kernels.start(request, self.identity))
        self.set_header("Location", f"{self.edge.base_url}api/kernels/{kernel.kernel_id}")
        self.write_json(kernel.model(), self.status_of(kernel, done=HTTPStatus.CREATED if new else HTTPStatus.OK))


class _OneKernelHandler(JsonHandler):
    def initialize(self, *, edge: Edge, kernels: Kernels) -> None:  # type: ignore[override]  # each handler names its services
        super().initialize(edge=edge)
        self._kernels = kernels


class KernelHandler(_OneKernelHandler):
    """One kernel."""

    operations: ClassVar = {
        "get": Operation(summary="Look at a kernel", responses={200: KernelModel, **_MISSING, 503: ErrorModel}, tag=_TAG),
        "delete": Operation(
            summary="End a kernel, also while it starts",
            responses={204: None, **_MISSING, 500: ErrorModel, 503: ErrorModel},
            tag=_TAG,
        ),
    }

    async def get(self, kernel_id: str) -> None:
        """Answer with one kernel."""
        self.write_json((await self._kernels.find(kernel_id, self.identity)).model())

    async def delete(self, kernel_id: str) -> None:
        """End one kernel."""
        await self._kernels.shutdown(kernel_id, self.identity)
        self.set_status(HTTPStatus.NO_CONTENT)
        self.finish()


class InterruptHandler(_OneKernelHandler):
    """Interrupts."""

    operations: ClassVar = {
        "post": Operation(
            summary="Interrupt what a kernel runs",
            responses={204: None, **_MISSING, **dict.fromkeys((409, 500, 503), ErrorModel)},
            tag=_TAG,
        )
    }

    async def post(self, kernel_id: str) -> None:
        """Interrupt one kernel; a body is ignored."""
        await self._kernels.interrupt(kernel_id, self.identity)
        self.set_status(HTTPStatus.NO_CONTENT)
        self.finish()


class RestartHandler(_OneKernelHandler):
    """Restarts."""

    operations: ClassVar = {
        "post": Operation(
            summary="Restart a kernel; its id and its clients stay",
            responses={200: KernelModel, **_MISSING, **dict.fromkeys((409, 500, 503), ErrorModel)},
            tag=_TAG,
        )
    }

    async def post(self, kernel_id: str) -> None:
        """Restart one kernel; a body is ignored."""
        self.write_json((await self._kernels.restart(kernel_id, self.identity)).model())
