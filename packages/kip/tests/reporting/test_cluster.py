from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from enterprise_gateway_common.node_images import NODE_IMAGES_ANNOTATION, decode_node_images
from kernel_image_puller.errors import KubernetesCallFailed
from kernel_image_puller.reporting.cluster import ClusterReporter
from kernel_image_puller.states import ImageState, ImageStatus


def _status(image: str, state: ImageState, *, reason: str = "", error: str = "") -> ImageStatus:
    return ImageStatus(
        reference=image, state=state, policy="IfNotPresent", wanted_by=(), size=0, since=0, tries=0, last_error=error,
        reason=reason, next_try=None, done_bytes=0, total_bytes=0,
    )  # fmt: skip


class FakeCluster:
    def __init__(self) -> None:
        self.annotations: list[Mapping[str, str]] = []
        self.events: list[dict[str, Any]] = []
        self.taints: list[dict[str, Any]] = [{"key": "keep"}, {"key": "example.org/images-not-ready", "effect": "NoSchedule"}]
        self.away = False
        self.calls = 0

    def _answer(self) -> None:
        self.calls += 1
        if self.away:
            raise KubernetesCallFailed("connection refused")

    def annotate_pod(self, namespace: str, name: str, annotations: Mapping[str, str]) -> None:
        self._answer()
        assert (namespace, name) == ("ns", "kip-1")
        self.annotations.append(annotations)

    def create_event(self, namespace: str, event: dict[str, Any]) -> None:
        self._answer()
        assert namespace == "ns"
        self.events.append(event)

    def pod(self, namespace: str, name: str) -> dict[str, Any]:
        self._answer()
        return {"metadata": {"namespace": namespace, "name": name, "uid": "u-1"}}

    def node(self, name: str) -> dict[str, Any]:
        self._answer()
        return {"metadata": {"name": name, "resourceVersion": "7"}, "spec": {"taints": self.taints}}

    def set_taints(self, node: dict[str, Any], taints: list[dict[str, Any]]) -> None:
        assert node["metadata"]["resourceVersion"] == "7"
        self.taints = taints


@pytest.fixture
def world(clock: Any) -> Any:
    world = SimpleNamespace(cluster=FakeCluster(), statuses=[], ready=False)
    world.reporter = ClusterReporter(
        api=world.cluster,
        node="n1",
        pod=("ns", "kip-1"),
        statuses=lambda: world.statuses,
        first_sync=lambda: world.ready,
        annotate=True,
        events=True,
        startup_taint="example.org/images-not-ready",
        clock=clock,
    )
    return world


def test_the_annotation_tells_the_state_of_every_image(world: Any) -> None:
    world.statuses = [_status("a", ImageState.PRESENT), _status("b", ImageState.PULLING)]
    assert world.reporter.tell() == 0.0
    (annotation,) = world.cluster.annotations
    told = decode_node_images(annotation[NODE_IMAGES_ANNOTATION])
    assert (told.node, dict(told.images)) == ("n1", {"a": "present", "b": "pulling"})


def test_what_has_not_changed_is_not_told_again(world: Any) -> None:
    world.statuses = [_status("a", ImageState.PRESENT)]
    world.reporter.tell()
    calls = world.cluster.calls
    for _ in range(10):
        world.reporter.tell()
    assert world.cluster.calls == calls


def test_a_lasting_failure_is_one_event_of_the_pod_and_its_end_another(world: Any) -> None:
    world.statuses = [_status("a", ImageState.FAILED, reason="permanent", error="not found")]
    for _ in range(3):
        world.reporter.tell()
    world.statuses = [_status("a", ImageState.RETRYING, reason="permanent", error="not found")]
    world.reporter.tell()
    world.statuses = [_status("a", ImageState.PRESENT)]
    for _ in range(3):
        world.reporter.tell()
    assert [(event["type"], event["reason"]) for event in world.cluster.events] == [
        ("Warning", "ImageNotPulled"),
        ("Normal", "ImagePulled"),
    ]
    assert "not found" in world.cluster.events[0]["message"]
    assert world.cluster.events[0]["involvedObject"]["uid"] == "u-1"


def test_another_reason_is_another_event(world: Any) -> None:
    for reason in ("permanent", "authentication", "authentication"):
        world.statuses = [_status("a", ImageState.FAILED, reason=reason, error=reason)]
        world.reporter.tell()
    assert len(world.cluster.events) == 2


def test_an_image_that_is_only_being_tried_again_is_no_event(world: Any) -> None:
    world.statuses = [_status("a", ImageState.RETRYING, reason="transient", error="reset")]
    world.reporter.tell()
    assert world.cluster.events == []


def test_the_taint_is_removed_after_the_first_round_and_others_stay(world: Any) -> None:
    world.reporter.tell()
    assert len(world.cluster.taints) == 2
    world.ready = True
    world.reporter.tell()
    assert world.cluster.taints == [{"key": "keep"}]


def test_what_could_not_be_told_is_told_later_after_growing_waits(world: Any) -> None:
    world.statuses = [_status("a", ImageState.PRESENT)]
    world.cluster.away = True
    waits = [world.reporter.tell() for _ in range(5)]
    assert all(before < after for before, after in zip(waits, waits[2:], strict=False))
    assert waits[0] >= 2.0
    world.cluster.away = False
    assert world.reporter.tell() == 0.0
    assert len(world.cluster.annotations) == 1


def test_stopping_ends_the_thread_that_waits(world: Any) -> None:
    import threading

    thread = threading.Thread(target=world.reporter.run)
    thread.start()
    world.reporter.notify()
    world.reporter.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_images_that_are_gone_are_forgotten(world: Any) -> None:
    for number in range(100):
        world.statuses = [_status(f"a{number}", ImageState.FAILED, reason="permanent", error="x")]
        world.reporter.tell()
    assert len(world.reporter._told_failures) == 1
