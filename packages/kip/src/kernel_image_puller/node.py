"""What is known of this node: its labels, and whether there is a reason not to pull now."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from kernel_image_puller.clock import Clock
from kernel_image_puller.errors import KubernetesCallFailed
from kernel_image_puller.logs import fields

__all__ = ["Node", "NodeReader", "free_percent"]

_LOGGER = logging.getLogger(__name__)
_LABELS_SECONDS = 600.0


class NodeReader(Protocol):
    """The one call that this module needs."""

    def node(self, name: str) -> dict[str, Any]:
        """Return a node; raises `KubernetesCallFailed`."""


def free_percent(path: Path) -> float | None:
    """Return how much of a file system is free for everybody, in percent; `None` where the path isn't to be seen here."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return 100.0 * found.f_bavail / found.f_blocks if found.f_blocks else None


class Node:
    """The node that this program serves. The API server is asked only when an answer matters.

    Parameters
    ----------
    name
        The node's name.
    labels
        Its labels where there is nobody to ask.
    api
        Whom to ask; `None` without Kubernetes.
    min_free_percent
        With less room than this nothing is pulled.
    clock
        Tells the time.
    room
        Measures a file system.
    """

    def __init__(
        self,
        *,
        name: str,
        labels: Mapping[str, str],
        api: NodeReader | None,
        min_free_percent: float,
        clock: Clock,
        room: Callable[[Path], float | None] = free_percent,
    ) -> None:
        self.name = name
        self._labels: Mapping[str, str] | None = dict(labels) if labels or api is None else None
        self._api = api
        self._min_free_percent = min_free_percent
        self._clock = clock
        self._room = room
        self._asked = float("-inf")

    def labels(self) -> Mapping[str, str] | None:
        """Return the node's labels, at most ten minutes old; `None` while they aren't known."""
        if self._api is not None and self._clock.monotonic() - self._asked >= _LABELS_SECONDS:
            self._ask(self._api)
        return self._labels

    def hold_reason(self, image_filesystem: Path | None) -> str:
        """Return why nothing may be pulled now, or an empty text."""
        free = self._room(image_filesystem) if image_filesystem is not None else None
        if free is not None and free < self._min_free_percent:
            return f"{image_filesystem} has {free:.0f} % of its room left, less than {self._min_free_percent:.0f} %"
        document = self._ask(self._api) if self._api is not None else None
        conditions = (document or {}).get("status", {}).get("conditions") or []
        if any(condition.get("type") == "DiskPressure" and condition.get("status") == "True" for condition in conditions):
            return f"node {self.name} is under disk pressure"
        return ""

    def _ask(self, api: NodeReader) -> dict[str, Any] | None:
        try:
            document = api.node(self.name)
        except KubernetesCallFailed as error:
            # Without an answer pulling goes on: a full disk still shows itself, and labels stay as they were known.
            _LOGGER.warning("The node can't be asked for", extra=fields(node=self.name, error=error))
            return None
        self._labels = dict(document.get("metadata", {}).get("labels") or {})
        self._asked = self._clock.monotonic()
        return document
