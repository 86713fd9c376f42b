"""A wish, never a demand: the nodes that a kernel's pod would start on at once because its image is there."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["prefer_nodes"]

# More than one wish for a node would only repeat it; beyond these the image is about everywhere.
_MOST_NODES = 50
# Out of 100: the scheduler weighs it against other wishes and the spread of load.
_WEIGHT = 50


def prefer_nodes(spec: Mapping[str, Any], nodes: Sequence[str]) -> dict[str, Any]:
    """Return a pod's specification that prefers these nodes beside what its template already prefers.

    A pod that its template binds to a node, and one without any such node, stay as they are.
    """
    if not nodes or len(nodes) > _MOST_NODES or spec.get("nodeName"):
        return dict(spec)
    affinity = _mapping(spec.get("affinity"))
    node_affinity = _mapping(affinity.get("nodeAffinity"))
    wishes = [
        *(node_affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or []),
        *({"weight": _WEIGHT, "preference": {"matchFields": [_is_named(node)]}} for node in nodes),
    ]
    wished = {**node_affinity, "preferredDuringSchedulingIgnoredDuringExecution": wishes}
    return {**spec, "affinity": {**affinity, "nodeAffinity": wished}}


def _is_named(node: str) -> dict[str, Any]:
    # By the node's name and not by its hostname label, which need not be the same.
    return {"key": "metadata.name", "operator": "In", "values": [node]}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
