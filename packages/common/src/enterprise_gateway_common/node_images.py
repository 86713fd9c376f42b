"""What an image puller tells the gateway of its node, in one annotation of its own pod.

The annotation `enterprise-gateway.jupyter.org/node-images` holds compact JSON of a bounded size:

    {"v":1,"node":"node-1","images":{"docker.io/elyra/kernel-py:3.2.3":"present"},"omitted":0}

Every image that the puller wants on this node is listed by its complete name with its state. Where they don't all fit,
the present ones come first and `omitted` counts the rest. There is no time in it: while nothing changes on the node, the
text stays the same and nobody has to write it again.
"""

import json
from dataclasses import dataclass
from typing import Dict, List, Mapping, Tuple

from enterprise_gateway_common.labels import ANNOTATION_PREFIX

__all__ = [
    "MAXIMUM_BYTES",
    "NODE_IMAGES_ANNOTATION",
    "PRESENT",
    "InvalidNodeImages",
    "NodeImages",
    "decode_node_images",
    "encode_node_images",
]

NODE_IMAGES_ANNOTATION = ANNOTATION_PREFIX + "node-images"
MAXIMUM_BYTES = 64 * 1024
"""An object may hold 256 KiB of annotations in all; this leaves room for everybody else's."""
PRESENT = "present"
_VERSION = 1


class InvalidNodeImages(ValueError):
    """An annotation that this version can't read; the text says why."""


@dataclass(frozen=True)
class NodeImages:
    """The images that are wanted on one node, each with its state."""

    node: str
    images: Mapping[str, str]
    """Complete image name to state; `PRESENT` means that a kernel can start from it at once."""
    omitted: int = 0
    """How many more images are wanted that didn't fit."""

    def has(self, reference: str) -> bool:
        """Tell whether an image, given by its complete name, is on the node."""
        return self.images.get(reference) == PRESENT


def encode_node_images(value: NodeImages, maximum_bytes: int = MAXIMUM_BYTES) -> str:
    """Return the annotation's text; the same value always gives the same text, never longer than the bound.

    Raises
    ------
    ValueError
        Not even an empty list fits.
    """
    # Present images first: they are what the gateway acts upon.
    ordered = sorted(value.images.items(), key=lambda item: (item[1] != PRESENT, item[0]))
    size = len(_text(value.node, [], value.omitted + len(ordered)))
    if size > maximum_bytes:
        message = f"{maximum_bytes} bytes are too few for the images of node {value.node!r}"
        raise ValueError(message)
    kept: List[Tuple[str, str]] = []
    for name, state in ordered:
        size += len(json.dumps(name)) + len(json.dumps(state)) + len(":,")
        if size > maximum_bytes:
            break
        kept.append((name, state))
    return _text(value.node, kept, value.omitted + len(ordered) - len(kept))


def decode_node_images(text: str) -> NodeImages:
    """Return what an annotation says.

    Raises
    ------
    InvalidNodeImages
        It isn't JSON of a version that is known here. What a later version adds to this one is ignored.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InvalidNodeImages("it is not JSON") from error
    if not isinstance(document, dict) or document.get("v") != _VERSION:
        raise InvalidNodeImages(f"it is not of version {_VERSION}")
    node, images, omitted = document.get("node"), document.get("images"), document.get("omitted", 0)
    if not isinstance(node, str) or not isinstance(images, dict) or not isinstance(omitted, int):
        raise InvalidNodeImages("node, images and omitted must be text, object and number")
    known: Dict[str, str] = {name: state for name, state in images.items() if isinstance(state, str)}
    return NodeImages(node, known, omitted)


def _text(node: str, images: List[Tuple[str, str]], omitted: int) -> str:
    document = {"v": _VERSION, "node": node, "images": dict(images), "omitted": omitted}
    return json.dumps(document, separators=(",", ":"))
