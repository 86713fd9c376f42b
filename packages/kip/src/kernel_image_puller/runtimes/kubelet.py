"""Pulling by the kubelet: a short-lived pod for each image, no socket, no root, the kubelet's own credentials.

Presence comes from the node's status, which names at most fifty images unless the cluster says otherwise and is some
seconds behind. So what a pod has just proved to be there counts as there for a while, also where the status doesn't name
it; after that the pod is asked again, which costs the registry nothing for an image that is present.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from enterprise_gateway_common import labels
from kernel_image_puller.classification import classify_pull_message, without_secrets
from kernel_image_puller.clock import Clock
from kernel_image_puller.errors import (
    KubernetesCallFailed,
    PermanentPullError,
    PullCancelled,
    PullFailed,
    RuntimeAway,
    TransientPullError,
)
from kernel_image_puller.logs import fields
from kernel_image_puller.runtimes.kubelet_pods import PULL_CONTAINER, TOOLS_CONTAINER, PodMaker
from kernel_image_puller.runtimes.protocol import PullOrder, StoredImage, complete_names

__all__ = ["KubeletApi", "KubeletRuntime"]

_LOGGER = logging.getLogger(__name__)
_FIRST_LOOK_SECONDS, _SLOWEST_LOOK_SECONDS = 0.25, 2.0
_STATUS_DELAY_SECONDS = 120.0
_UNLISTED_SECONDS = 3600.0
_USUAL_LISTED_IMAGES = 50
_PULL_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "RegistryUnavailable", "SignatureValidationFailed"}
)
_PERMANENT_REASONS = frozenset({"InvalidImageName", "SignatureValidationFailed"})
_START_REASONS = frozenset({"CreateContainerError", "CreateContainerConfigError", "RunContainerError"})
_OWN_SETTINGS = "KIP_"
_CONFLICT, _TOO_MANY_REQUESTS, _SERVER_ERRORS = 409, 429, 500


class KubeletApi(Protocol):
    """The calls that this runtime needs; each raises `KubernetesCallFailed`."""

    def node(self, name: str) -> dict[str, Any]:
        """Return a node."""

    def pod(self, namespace: str, name: str) -> dict[str, Any]:
        """Return a pod."""

    def pods(self, namespace: str, label_selector: str) -> list[dict[str, Any]]:
        """Return the pods with these labels."""

    def create_pod(self, namespace: str, pod: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Create a pod, or only ask what it would become."""

    def delete_pod(self, namespace: str, name: str) -> None:
        """Delete a pod at once."""


class KubeletRuntime:
    """The kubelet of one node.

    Parameters
    ----------
    api
        The API server.
    node
        The node's name.
    namespace
        Where the pods are made: the puller's own namespace.
    own_pod
        The puller's own pod.
    image
        The image of the pods' own program; empty for the puller's image.
    clock
        Tells the time.
    wait
        Waits so many seconds or until the event is set, and tells whether it was set.
    """

    uses_credentials = False

    def __init__(
        self,
        *,
        api: KubeletApi,
        node: str,
        namespace: str,
        own_pod: str,
        image: str,
        clock: Clock,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self.name = f"kubelet of {node}"
        self._api = api
        self._node = node
        self._namespace = namespace
        self._own_pod = own_pod
        self._image = image
        self._clock = clock
        self._wait = wait
        self._lock = threading.Lock()
        self._maker: PodMaker | None = None
        self._image_volumes: bool | None = None
        self._proved: dict[str, float] = {}

    def describe(self) -> str:
        """Return the kubelet's version, and whose it is."""
        try:
            facts = self._api.node(self._node).get("status", {}).get("nodeInfo") or {}
        except KubernetesCallFailed as error:
            raise RuntimeAway(str(error)) from error
        return f"kubelet {facts.get('kubeletVersion', '')} with {facts.get('containerRuntimeVersion', '')} ({self.name})"

    def images(self) -> Sequence[StoredImage]:
        """Return what the node's status names, and what a pod has proved lately."""
        try:
            document = self._api.node(self._node)
        except KubernetesCallFailed as error:
            raise RuntimeAway(str(error)) from error
        listed = document.get("status", {}).get("images") or []
        found = [
            StoredImage("", complete_names(list(entry.get("names") or ())), int(entry.get("sizeBytes") or 0)) for entry in listed
        ]
        names = {name for image in found for name in image.names}
        trusted = _UNLISTED_SECONDS if len(listed) >= _USUAL_LISTED_IMAGES else _STATUS_DELAY_SECONDS
        now = self._clock.monotonic()
        with self._lock:
            self._proved = {name: since for name, since in self._proved.items() if now - since < trusted}
            found += [StoredImage("", frozenset({name}), 0) for name in self._proved.keys() - names]
        return found

    def pull(self, order: PullOrder) -> int:
        """Return 0 once a pod with the image has run to its end."""
        try:
            maker = self._pod_maker()
            if self._uses_image_volumes(maker, order):
                try:
                    self._pull_with(maker.with_image_volume(order), order)
                except _ImageVolumeRefused as error:
                    _LOGGER.warning(
                        "Image volumes don't work on this node; images are started instead", extra=fields(error=error)
                    )
                    self._image_volumes = False
            if not self._image_volumes:
                self._pull_with(maker.with_noop_program(order), order)
        except KubernetesCallFailed as error:
            if _says_nothing(error):
                raise RuntimeAway(str(error)) from error
            raise PermanentPullError(f"the pod that pulls {order.reference} is refused: {error}") from error
        with self._lock:
            self._proved[str(order.reference)] = self._clock.monotonic()
        return 0

    def identities_in_use(self) -> None:
        """Return nothing: only the kubelet knows, and only the kubelet removes images."""

    def remove(self, image: StoredImage, name: str) -> None:
        """Refuse: a kubelet removes images by itself."""
        del image
        raise PermanentPullError(f"{name}: images of a kubelet are removed by the kubelet")

    def image_filesystem(self) -> Path | None:
        """Return nothing: without a socket it isn't known; the node's condition tells of pressure."""
        return None

    def close(self) -> None:
        """Do nothing: pods end with their owner."""

    # ------------------------------------------------------------------------------------------------------- the pods

    def _pod_maker(self) -> PodMaker:
        """Return what makes the pods; before the first one, remove those of a puller that was killed on this node."""
        with self._lock:
            if self._maker is None:
                own = self._api.pod(self._namespace, self._own_pod)
                maker = PodMaker(node=self._node, owner=own, helper_image=self._image or _own_image(own))
                for pod in self._api.pods(self._namespace, maker.selector):
                    self._api.delete_pod(self._namespace, pod["metadata"]["name"])
                self._maker = maker
            return self._maker

    def _uses_image_volumes(self, maker: PodMaker, order: PullOrder) -> bool:
        """Ask the cluster until it has answered: a server without image volumes drops that part of a pod and then misses it."""
        if self._image_volumes is None:
            try:
                pod = self._api.create_pod(self._namespace, maker.with_image_volume(order), dry_run=True)
                volumes = pod.get("spec", {}).get("volumes") or []
                self._image_volumes = any("image" in volume for volume in volumes)
            except KubernetesCallFailed as error:
                if _says_nothing(error):
                    raise
                self._image_volumes = error.status == _CONFLICT
        return self._image_volumes

    def _pull_with(self, pod: dict[str, Any], order: PullOrder) -> None:
        name = pod["metadata"]["name"]
        deadline = self._clock.monotonic() + order.timeout
        cancelled = threading.Event()
        with order.cancellation.calling(cancelled.set):
            try:
                self._create(pod, name, cancelled, deadline)
                self._follow(name, order, cancelled, deadline)
            finally:
                self._api.delete_pod(self._namespace, name)

    def _create(self, pod: dict[str, Any], name: str, cancelled: threading.Event, deadline: float) -> None:
        while True:
            try:
                self._api.create_pod(self._namespace, pod)
            except KubernetesCallFailed as error:
                # The pod of the last try is still being removed.
                if error.status != _CONFLICT or self._clock.monotonic() > deadline:
                    raise
                self._api.delete_pod(self._namespace, name)
                if self._wait(cancelled, _FIRST_LOOK_SECONDS):
                    raise PullCancelled(f"{name}: cancelled") from None
                continue
            return

    def _follow(self, name: str, order: PullOrder, cancelled: threading.Event, deadline: float) -> None:
        look = _FIRST_LOOK_SECONDS
        while True:
            if self._wait(cancelled, look):
                raise PullCancelled(f"{order.reference}: cancelled")
            look = min(look * 1.5, _SLOWEST_LOOK_SECONDS)
            try:
                status = self._api.pod(self._namespace, name).get("status", {})
            except KubernetesCallFailed as error:
                if _says_nothing(error):
                    raise
                raise TransientPullError(f"{order.reference}: its pod is gone: {error}") from error
            if _outcome(status, order):
                return
            if self._clock.monotonic() > deadline:
                raise TransientPullError(f"{order.reference}: not pulled within {order.timeout:.0f} s")


def _own_image(pod: dict[str, Any]) -> str:
    """Return the image of the puller's own container, beside which admission may have put others, in any place."""
    containers = pod.get("spec", {}).get("containers") or []
    named = [container for container in containers if container.get("name") == labels.COMPONENT_PULLER]
    settled = [container for container in containers if _has_own_settings(container)]
    return next((str(container.get("image", "")) for container in [*named, *settled, *containers]), "")


def _has_own_settings(container: dict[str, Any]) -> bool:
    return any(entry.get("name", "").startswith(_OWN_SETTINGS) for entry in container.get("env") or ())


class _ImageVolumeRefused(PullFailed):
    """The image is there, and the runtime can't mount it."""


def _says_nothing(error: KubernetesCallFailed) -> bool:
    """Tell whether the API server is away, busy or broken, so that this is no answer about a pod or an image."""
    return not error.status or error.status == _TOO_MANY_REQUESTS or error.status >= _SERVER_ERRORS


def _outcome(status: dict[str, Any], order: PullOrder) -> bool:
    """Tell whether the pod has shown that the image is there; raises what it shows instead."""
    every = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    # What admission puts beside them has images and troubles of its own.
    states = [container for container in every if container.get("name", "").startswith((PULL_CONTAINER, TOOLS_CONTAINER))]
    for container in states:
        waiting = container.get("state", {}).get("waiting") or {}
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        text = f"{order.reference}: {reason}: {without_secrets(message)}"
        if reason in _PERMANENT_REASONS:
            raise PermanentPullError(text)
        if reason in _PULL_REASONS:
            raise classify_pull_message(f"{order.reference}: {message or reason}")
        if reason in _START_REASONS and ("image volume" in message or "mount" in message):
            raise _ImageVolumeRefused(text)
    phase = status.get("phase", "")
    pulls = [container for container in states if container.get("name", "").startswith(PULL_CONTAINER)]
    if phase == "Succeeded" or (pulls and all(_needs_nothing_more(container) for container in pulls)):
        return True
    if phase == "Failed":
        # An evicted pod has proved nothing.
        reason = f"{status.get('reason', '')} {status.get('message', '')}".strip()
        raise TransientPullError(f"{order.reference}: its pod failed: {without_secrets(reason) or 'no reason given'}")
    return False


def _needs_nothing_more(container: dict[str, Any]) -> bool:
    """Tell whether a container's image is on the node, even where it can't be started or how its program ends."""
    state = container.get("state", {})
    return bool(state.get("terminated")) or (state.get("waiting") or {}).get("reason", "") in _START_REASONS
