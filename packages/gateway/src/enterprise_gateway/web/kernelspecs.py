"""/api/kernelspecs and /kernelspecs: what can be started, and the logos that belong to it."""

import asyncio
import mimetypes
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar

from enterprise_gateway.errors import Forbidden, NotFound
from enterprise_gateway.kernels.registry import Kernels
from enterprise_gateway.kernelspecs.authorization import EmptyListings, may_start, visible_to
from enterprise_gateway.kernelspecs.catalogue import Kernelspec, KernelspecCatalogue
from enterprise_gateway.web.base import Edge, JsonHandler
from enterprise_gateway.web.models import ErrorModel, KernelspecModel, KernelspecsModel
from enterprise_gateway.web.operations import Operation, QueryParameter

__all__ = ["KernelspecHandler", "KernelspecResourceHandler", "KernelspecsHandler"]

_TAG = "kernelspecs"
_USER = (QueryParameter(name="user", description="Show only what this user may start."),)
_ACCESS = {401: ErrorModel, 403: ErrorModel}

# What a kernelspec's folder holds for the gateway itself: templates and start scripts, not for browsers.
_SERVER_SIDE_FOLDERS = frozenset({"scripts", "bin"})
# What every file system here takes as one name, and more folders than a kernelspec has.
_LONGEST_NAME = 255
_MOST_PARTS = 16


class _KernelspecsBase(JsonHandler):
    def initialize(self, *, edge: Edge, catalogue: KernelspecCatalogue, kernels: Kernels) -> None:  # type: ignore[override]  # each handler names its services
        super().initialize(edge=edge)
        self._catalogue, self._kernels = catalogue, kernels

    @property
    def _user(self) -> str | None:
        return self.identity.user or self.get_query_argument("user", None)

    async def _kernelspec(self, name: str) -> Kernelspec:
        """Return a kernelspec that the user may start; the error for an unknown one names only such.

        Raises
        ------
        KernelspecNotFound
            There is none.
        Forbidden
            The user may not start it.
        """
        users, user = self._kernels.rules.now.users, self._user
        kernelspec = await self._catalogue.get(name, visible=lambda all_: visible_to(user, all_, users))
        if user is not None and not may_start(user, kernelspec.metadata, users):
            raise Forbidden(f"User '{user[:128]}' is not authorized to start kernel '{kernelspec.name}'.")
        return kernelspec


class KernelspecsHandler(_KernelspecsBase):
    """All kernelspecs; an unchanged answer is 304 for who sends its ETag."""

    operations: ClassVar = {
        "get": Operation(
            summary="List kernelspecs", responses={200: KernelspecsModel, 304: None, **_ACCESS}, query=_USER, tag=_TAG
        )
    }

    def initialize(self, *, empty_listings: EmptyListings, **services: Any) -> None:  # type: ignore[override]  # noqa: ANN401  each handler names its services
        """Take the services."""
        super().initialize(**services)
        self._empty_listings = empty_listings

    async def get(self) -> None:
        """Answer with every kernelspec that the user may start."""
        rules, user, kernelspecs = self._kernels.rules.now, self._user, await self._catalogue.all()
        shown = visible_to(user, kernelspecs, rules.users)
        if user is not None and kernelspecs and not shown:
            self._empty_listings.note(user, rules.users)
        models = {name: kernelspec.model(self.edge.base_url) for name, kernelspec in shown.items()}
        self.write_json({"default": rules.default_kernel_name, "kernelspecs": models})


class KernelspecHandler(_KernelspecsBase):
    """One kernelspec."""

    operations: ClassVar = {
        "get": Operation(
            summary="Look at a kernelspec",
            responses={200: KernelspecModel, 304: None, **_ACCESS, 404: ErrorModel},
            query=_USER,
            tag=_TAG,
        )
    }

    async def get(self, kernel_name: str) -> None:
        """Answer with one kernelspec."""
        kernelspec = await self._kernelspec(kernel_name)
        self.write_json(kernelspec.model(self.edge.base_url))


class KernelspecResourceHandler(_KernelspecsBase):
    """Files of a kernelspec's folder that a browser shows."""

    operations: ClassVar = {
        "get": Operation(
            summary="Fetch a kernelspec's logo or kernel.js",
            responses={200: None, 304: None, **_ACCESS, 404: ErrorModel},
            tag=_TAG,
            content_type="application/octet-stream",
        )
    }

    async def get(self, kernel_name: str, path: str) -> None:
        """Answer with one file."""
        kernelspec = await self._kernelspec(kernel_name)
        content = await asyncio.to_thread(_read_inside, kernelspec.resource_dir, path)
        self.set_status(HTTPStatus.OK)
        self.set_header("Content-Type", mimetypes.guess_type(path)[0] or "application/octet-stream")
        self.finish(content)


def _read_inside(folder: Path, path: str) -> bytes:
    """Return a file's content.

    Raises
    ------
    NotFound
        There is no such file inside the folder that a browser may have.
    """
    missing = NotFound("The kernelspec has no such file.")
    parts = Path(path).parts
    if not parts or len(parts) > _MOST_PARTS or any(len(part.encode()) > _LONGEST_NAME for part in parts):
        raise missing
    if parts[0] in _SERVER_SIDE_FOLDERS or any(part.startswith(".") for part in parts) or "\x00" in path:
        raise missing
    try:
        root = folder.resolve()
        # Resolved before it is compared: a link inside the folder may not lead out of it.
        file = (root / path).resolve()
        if file.is_relative_to(root) and file.is_file():
            return file.read_bytes()
    except (OSError, RuntimeError) as error:
        # The name is the client's, so whatever the operating system has against it is the client's too; until
        # Python 3.13 a circle of links is a RuntimeError.
        raise missing from error
    raise missing
