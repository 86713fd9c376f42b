"""Which images are on which nodes, as the image pullers say on their own pods."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from enterprise_gateway_common import labels
from enterprise_gateway_common.node_images import (
    MAXIMUM_BYTES,
    NODE_IMAGES_ANNOTATION,
    InvalidNodeImages,
    NodeImages,
    decode_node_images,
)

__all__ = ["PULLER_SELECTOR", "PullerState", "nodes_with", "puller_state"]

_log = logging.getLogger(__name__)

PULLER_SELECTOR = f"{labels.APP}={labels.APP_VALUE},{labels.COMPONENT}={labels.COMPONENT_PULLER}"


@dataclass(frozen=True, kw_only=True)
class PullerState:
    """What one puller's pod says."""

    namespace: str
    name: str
    uid: str
    images: NodeImages | None
    """`None` where it says nothing yet, or nothing that can be read."""

    @property
    def key(self) -> tuple[str, str]:
        """Where it is kept."""
        return self.namespace, self.name


def puller_state(document: Mapping[str, Any]) -> PullerState:
    """Return what is kept of a puller's pod.

    Nothing it says counts where it speaks of another node than its own, or at a greater length than a puller does.
    """
    metadata = document["metadata"]
    text = (metadata.get("annotations") or {}).get(NODE_IMAGES_ANNOTATION)
    images = None
    if text is not None:
        try:
            images = _own_images(text, (document.get("spec") or {}).get("nodeName"))
        except InvalidNodeImages as error:
            # A newer puller than this gateway knows, during an upgrade: its node counts as unknown.
            _log.debug("A puller's annotation can't be read", extra={"pod": metadata["name"], "cause": str(error)})
    return PullerState(namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"], images=images)


def _own_images(text: str, node: str | None) -> NodeImages:
    # Whoever may make pods can give one a puller's labels: such a pod may lie about its own node, no further.
    if len(text) > MAXIMUM_BYTES:
        raise InvalidNodeImages(f"it is longer than {MAXIMUM_BYTES} bytes")
    images = decode_node_images(text)
    if images.node != node:
        raise InvalidNodeImages("it is of another node than the pod's")
    return images


def nodes_with(reference: str, pullers: Mapping[tuple[str, str], PullerState]) -> list[str]:
    """Return the nodes, sorted, that have an image, given by its complete name."""
    told = (puller.images for puller in pullers.values() if puller.images is not None)
    return sorted({images.node for images in told if images.has(reference)})
