"""/api/images: which images the kernelspecs want, and on which nodes they are."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from msgspec import Struct

from enterprise_gateway.kernels.registry import Kernels
from enterprise_gateway.kernelspecs.authorization import visible_to
from enterprise_gateway.kernelspecs.catalogue import Kernelspec, KernelspecCatalogue
from enterprise_gateway.web.base import Edge, JsonHandler
from enterprise_gateway.web.models import ErrorModel
from enterprise_gateway.web.operations import Operation, QueryParameter
from enterprise_gateway_common.image_reference import InvalidImageReference, parse_image_reference
from enterprise_gateway_common.kernelspec_metadata import MalformedMetadataError, kernelspec_images
from enterprise_gateway_common.node_images import NodeImages

__all__ = ["ImagesHandler", "image_table"]


class ImageModel(Struct, kw_only=True):
    """One image: who wants it, and its state on each node whose puller tells of it."""

    image: str
    kernelspecs: list[str]
    nodes: dict[str, str]


class ImagesModel(Struct, kw_only=True):
    """The images, and the nodes that have a puller.

    Without a user they are every image that a kernelspec wants or a puller keeps; for a user only those that a kernelspec
    wants which the user may start.
    """

    nodes: list[str]
    images: list[ImageModel]


class ImagesHandler(JsonHandler):
    """The table of images and nodes; a user learns of no kernelspec that the user may not start."""

    operations: ClassVar = {
        "get": Operation(
            summary="Which images are on which nodes",
            responses={200: ImagesModel, 304: None, 401: ErrorModel, 403: ErrorModel, 503: ErrorModel},
            query=(QueryParameter(name="user", description="Show only what this user may start."),),
            tag="images",
        )
    }

    def initialize(  # type: ignore[override]  # each handler names its services
        self,
        *,
        edge: Edge,
        catalogue: KernelspecCatalogue,
        kernels: Kernels,
        node_images: Callable[[], list[NodeImages]],
        check_synced: Callable[[], None],
    ) -> None:
        """Take the services."""
        super().initialize(edge=edge)
        self._catalogue, self._kernels = catalogue, kernels
        self._node_images, self._check_synced = node_images, check_synced

    async def get(self) -> None:
        """Answer with the table; without a cluster or pullers it has no nodes."""
        self._check_synced()
        user = self.identity.user or self.get_query_argument("user", None)
        shown = visible_to(user, await self._catalogue.all(), self._kernels.rules.now.users)
        self.write_json(image_table(shown, self._node_images(), only_wanted=user is not None))


def image_table(kernelspecs: Mapping[str, Kernelspec], told: list[NodeImages], *, only_wanted: bool = False) -> dict[str, Any]:
    """Return each image with its nodes, the images sorted by their complete names.

    Parameters
    ----------
    only_wanted
        Leave out what the pullers keep and none of these kernelspecs wants.
    """
    wanted: dict[str, list[str]] = {}
    for name, kernelspec in kernelspecs.items():
        for image in _images(kernelspec):
            wanted.setdefault(image, []).append(name)
    states: dict[str, dict[str, str]] = {image: {} for image in wanted}
    for node in told:
        for image, state in node.images.items():
            if image in wanted or not only_wanted:
                states.setdefault(image, {})[node.node] = state
    return {
        "nodes": sorted({node.node for node in told}),
        "images": [
            {"image": image, "kernelspecs": wanted.get(image, []), "nodes": dict(sorted(nodes.items()))}
            for image, nodes in sorted(states.items())
        ],
    }


def _images(kernelspec: Kernelspec) -> list[str]:
    try:
        names = [found.image for found in kernelspec_images(kernelspec.spec.to_dict())]
        return list(dict.fromkeys(str(parse_image_reference(name)) for name in names))
    except (MalformedMetadataError, InvalidImageReference):
        # The puller reports it with the kernelspec's name; the table shows what can be kept.
        return []
