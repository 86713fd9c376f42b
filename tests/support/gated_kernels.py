"""Kernels in pods that no node takes before a test lets one: starts that take as long as the test likes."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Self

from tests.support.installation import delivered_template

if TYPE_CHECKING:
    from tests.support.installation import Cluster, Installation

__all__ = ["GatedKernels"]


class GatedKernels:
    """A kernelspec whose pods wait for a label that a node is to have; a context that leaves the nodes as they were."""

    def __init__(self, installation: Installation) -> None:
        self._label = f"e2e-gate-{secrets.token_hex(3)}"
        self._cluster: Cluster = installation.cluster
        head, containers, rest = delivered_template().partition("  containers:\n")
        selector = f"  nodeSelector:\n    {self._label}: open\n"
        self.name = installation.add_kernelspec(self._label, template=head + selector + containers + rest)
        self._node = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._node:
            self._cluster.kubectl("label", "node", self._node, f"{self._label}-")

    def open(self) -> None:
        """Let pods begin."""
        nodes = json.loads(self._cluster.kubectl("get", "nodes", "-o", "json"))["items"]
        self._node = nodes[0]["metadata"]["name"]
        self._cluster.kubectl("label", "node", self._node, f"{self._label}=open")
