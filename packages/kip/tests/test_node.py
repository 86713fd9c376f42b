from pathlib import Path
from typing import Any

import pytest

from kernel_image_puller.errors import KubernetesCallFailed
from kernel_image_puller.node import Node, free_percent


class FakeNodes:
    def __init__(self, document: dict[str, Any] | None) -> None:
        self.document = document
        self.calls = 0

    def node(self, name: str) -> dict[str, Any]:
        self.calls += 1
        if self.document is None:
            raise KubernetesCallFailed(f"no answer for {name}")
        return self.document


def _node(api: FakeNodes | None, clock: Any, *, free: float | None = None, **labels: str) -> Node:
    return Node(name="n", labels=labels, api=api, min_free_percent=15.0, clock=clock, room=lambda _path: free)


def test_without_kubernetes_the_settings_say_the_labels(clock: Any) -> None:
    assert _node(None, clock, gpu="yes").labels() == {"gpu": "yes"}


def test_labels_are_asked_at_most_every_ten_minutes(clock: Any) -> None:
    api = FakeNodes({"metadata": {"labels": {"a": "1"}}})
    node = _node(api, clock)
    assert [node.labels() for _ in range(5)] == [{"a": "1"}] * 5
    assert api.calls == 1
    clock.advance(601)
    node.labels()
    assert api.calls == 2


def test_labels_stay_known_while_nobody_answers(clock: Any) -> None:
    api = FakeNodes({"metadata": {"labels": {"a": "1"}}})
    node = _node(api, clock)
    node.labels()
    api.document = None
    clock.advance(601)
    assert node.labels() == {"a": "1"}


def test_labels_that_were_never_told_are_unknown(clock: Any) -> None:
    assert _node(FakeNodes(None), clock).labels() is None


@pytest.mark.parametrize(("free", "held"), [(14.9, True), (15.0, False), (None, False)])
def test_too_little_room_holds_every_pull(clock: Any, free: float | None, held: bool) -> None:  # noqa: FBT001  a row of the table
    assert bool(_node(None, clock, free=free).hold_reason(Path("/images"))) is held


@pytest.mark.parametrize(("status", "held"), [("True", True), ("False", False), ("Unknown", False)])
def test_disk_pressure_holds_every_pull(clock: Any, status: str, held: bool) -> None:  # noqa: FBT001  a row of the table
    api = FakeNodes({"metadata": {}, "status": {"conditions": [{"type": "DiskPressure", "status": status}]}})
    assert bool(_node(api, clock).hold_reason(None)) is held


def test_without_an_answer_pulling_goes_on(clock: Any) -> None:
    assert _node(FakeNodes(None), clock).hold_reason(None) == ""


def test_room_is_measured_where_the_path_is_to_be_seen(tmp_path: Path) -> None:
    measured = free_percent(tmp_path)
    assert measured is not None
    assert 0 <= measured <= 100
    assert free_percent(tmp_path / "nowhere") is None
