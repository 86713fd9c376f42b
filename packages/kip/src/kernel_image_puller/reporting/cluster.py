"""Tells the cluster: the annotation of this pod, events for images that stay away, the start-up taint of the node.

All of it happens in one thread that is woken by changes, at most once a second; what can't be told now is told later. An
API server that doesn't answer never holds up a pull.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from enterprise_gateway_common.node_images import NODE_IMAGES_ANNOTATION, NodeImages, encode_node_images
from kernel_image_puller.clock import Clock
from kernel_image_puller.errors import KubernetesCallFailed
from kernel_image_puller.logs import fields
from kernel_image_puller.retrying import RetryPolicy
from kernel_image_puller.states import ImageState, ImageStatus

__all__ = ["ClusterApi", "ClusterReporter"]

_LOGGER = logging.getLogger(__name__)
_QUIET_SECONDS = 1.0
_RETRIES = RetryPolicy(tries=1, first_wait=2.0, longest_wait=300.0)
_COMPONENT = "kernel-image-puller"
_LONGEST_NOTE = 1000


class ClusterApi(Protocol):
    """The calls that this module needs; each raises `KubernetesCallFailed`."""

    def annotate_pod(self, namespace: str, name: str, annotations: Mapping[str, str]) -> None:
        """Set annotations of a pod."""

    def create_event(self, namespace: str, event: dict[str, Any]) -> None:
        """Create an event."""

    def node(self, name: str) -> dict[str, Any]:
        """Return a node."""

    def set_taints(self, node: dict[str, Any], taints: list[dict[str, Any]]) -> None:
        """Give a node other taints."""

    def pod(self, namespace: str, name: str) -> dict[str, Any]:
        """Return a pod."""


class ClusterReporter:
    """Keeps what the cluster is told equal to what is known here.

    Parameters
    ----------
    api
        The API server.
    node
        The node's name.
    pod
        Namespace and name of this puller's own pod.
    statuses
        Returns what is known of every image.
    first_sync
        Tells whether the first round is done.
    annotate
        Whether the pod's annotation is kept.
    events
        Whether failures become events.
    startup_taint
        Key of the taint to remove after the first round; empty for none.
    clock
        Tells the time.
    """

    def __init__(  # noqa: PLR0913  wiring: every part is given by its name
        self,
        *,
        api: ClusterApi,
        node: str,
        pod: tuple[str, str],
        statuses: Callable[[], Iterable[ImageStatus]],
        first_sync: Callable[[], bool],
        annotate: bool,
        events: bool,
        startup_taint: str,
        clock: Clock,
    ) -> None:
        self._api = api
        self._node = node
        self._namespace, self._pod = pod
        self._statuses = statuses
        self._first_sync = first_sync
        self._annotate = annotate
        self._events = events
        self._startup_taint = startup_taint
        self._clock = clock
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._told_annotation = ""
        self._told_failures: dict[str, str] = {}
        self._pod_uid = ""
        self._failures = 0

    def notify(self) -> None:
        """Say that something may have changed; returns at once."""
        self._changed.set()

    def stop(self) -> None:
        """Let `run` return."""
        self._stopping.set()
        self._changed.set()

    def run(self) -> None:
        """Tell the cluster of every change until `stop` is called."""
        while not self._stopping.is_set():
            self._changed.wait()
            self._changed.clear()
            if self._stopping.is_set():
                return
            wait = self.tell()
            # Many changes in a short time are told once; after a failure it is tried again without a change.
            self._stopping.wait(wait or _QUIET_SECONDS)
            if wait:
                self._changed.set()

    def tell(self) -> float:
        """Tell everything that the cluster doesn't know yet; return how long to wait after a failure, else 0."""
        statuses = list(self._statuses())
        try:
            if self._startup_taint and self._first_sync():
                self._remove_taint()
            if self._annotate:
                self._tell_images(statuses)
            if self._events:
                self._tell_failures(statuses)
        except KubernetesCallFailed as error:
            self._failures += 1
            if self._failures == 1:
                _LOGGER.warning("The cluster can't be told of this node's images", extra=fields(error=error))
            return _RETRIES.wait(self._failures)
        self._failures = 0
        return 0.0

    def _tell_images(self, statuses: list[ImageStatus]) -> None:
        images = {status.reference: status.state.value for status in statuses}
        text = encode_node_images(NodeImages(self._node, images))
        if text != self._told_annotation:
            self._api.annotate_pod(self._namespace, self._pod, {NODE_IMAGES_ANNOTATION: text})
            self._told_annotation = text

    def _tell_failures(self, statuses: list[ImageStatus]) -> None:
        wanted = {status.reference for status in statuses}
        for gone in set(self._told_failures) - wanted:
            del self._told_failures[gone]
        for status in statuses:
            told = self._told_failures.get(status.reference)
            if status.state in {ImageState.FAILED, ImageState.HELD} and told != status.reason:
                note = f"Image {status.reference} is not on node {self._node}: {status.last_error}"
                self._create_event("Warning", "ImageNotPulled", note, status.reference)
                self._told_failures[status.reference] = status.reason
            elif status.state is ImageState.PRESENT and told is not None:
                self._create_event("Normal", "ImagePulled", f"Image {status.reference} is on node {self._node}", status.reference)
                del self._told_failures[status.reference]

    def _create_event(self, kind: str, reason: str, note: str, image: str) -> None:
        now = datetime.fromtimestamp(self._clock.wall(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        digest = hashlib.sha256(f"{image} {reason} {time.monotonic_ns()}".encode()).hexdigest()[:16]
        event = {
            "metadata": {"name": f"{self._pod}.{digest}", "namespace": self._namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": self._namespace,
                "name": self._pod,
                "uid": self._uid(),
            },
            "type": kind,
            "reason": reason,
            "message": note[:_LONGEST_NOTE],
            "source": {"component": _COMPONENT, "host": self._node},
            "reportingComponent": _COMPONENT,
            "reportingInstance": self._pod,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        self._api.create_event(self._namespace, event)

    def _uid(self) -> str:
        # `kubectl describe pod` shows only events that carry the pod's uid.
        if not self._pod_uid:
            self._pod_uid = self._api.pod(self._namespace, self._pod).get("metadata", {}).get("uid", "")
        return self._pod_uid

    def _remove_taint(self) -> None:
        node = self._api.node(self._node)
        taints = node.get("spec", {}).get("taints") or []
        kept = [taint for taint in taints if taint.get("key") != self._startup_taint]
        if len(kept) != len(taints):
            self._api.set_taints(node, kept)
            _LOGGER.info("Removed the start-up taint", extra=fields(node=self._node, taint=self._startup_taint))
        self._startup_taint = ""
