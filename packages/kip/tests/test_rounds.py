from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel_image_puller.cleanup import Cleaner
from kernel_image_puller.errors import KubernetesCallFailed, RuntimeAway, SourceFailed
from kernel_image_puller.node import Node
from kernel_image_puller.rounds import Rounds
from kernel_image_puller.runtimes.protocol import StoredImage
from kernel_image_puller.sources.combined import CombinedSources
from kernel_image_puller.sources.protocol import SourceAnswer
from kernel_image_puller.states import ImageState
from kernel_image_puller.wanted import ImageRequest, PullPolicy, WantingRules

A = "docker.io/library/a:latest"


class FakeSource:
    name = "fake"

    def __init__(self, *images: str) -> None:
        self.images = images
        self.fails = False
        self.selector: tuple[tuple[str, str], ...] = ()

    def fetch(self) -> SourceAnswer:
        if self.fails:
            raise SourceFailed("no answer")
        return SourceAnswer(tuple(ImageRequest(image, "spec", node_selector=self.selector) for image in self.images))


class FakeRuntime:
    name = "fake"
    uses_credentials = True

    def __init__(self) -> None:
        self.stored: set[str] = set()
        self.away = False
        self.lists = 0
        self.filesystem_calls = 0

    def images(self) -> list[StoredImage]:
        self.lists += 1
        if self.away:
            raise RuntimeAway("no socket")
        return [StoredImage(name, frozenset({name}), 1) for name in self.stored]

    def image_filesystem(self) -> Path | None:
        self.filesystem_calls += 1
        return Path("/images")


class FakeNodes:
    def __init__(self) -> None:
        self.labels: dict[str, str] | None = None

    def node(self, name: str) -> dict[str, Any]:
        if self.labels is None:
            raise KubernetesCallFailed(f"no answer for {name}")
        return {"metadata": {"labels": self.labels}}


@pytest.fixture
def source() -> FakeSource:
    return FakeSource("a")


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def make_rounds(clock: Any, make_schedule: Any, source: FakeSource, runtime: FakeRuntime) -> Callable[..., tuple[Rounds, Any]]:
    def make(
        *,
        interval: float = 300.0,
        free: float = 50.0,
        node: str = "n",
        served: Node | None = None,
        policy: PullPolicy = PullPolicy.IF_NOT_PRESENT,
    ) -> tuple[Rounds, Any]:
        schedule = make_schedule()
        any_runtime: Any = runtime
        rounds = Rounds(
            sources=CombinedSources(sources=[source], clock=clock),
            runtime=any_runtime,
            schedule=schedule,
            node=served or Node(name=node, labels={}, api=None, min_free_percent=15.0, clock=clock, room=lambda _path: free),
            rules=WantingRules(policy=policy),
            cleaner=Cleaner(runtime=any_runtime, after_seconds=0, state_file=None, clock=clock),
            interval=interval,
            clock=clock,
        )
        return rounds, schedule

    return make


def test_a_round_tells_the_schedule_what_is_missing(make_rounds: Any) -> None:
    rounds, schedule = make_rounds()
    rounds.round()
    assert [(status.reference, status.state) for status in schedule.snapshot()] == [(A, ImageState.WAITING)]


def test_a_round_with_everything_present_is_one_call_to_the_runtime(make_rounds: Any, runtime: FakeRuntime) -> None:
    runtime.stored = {A}
    rounds, _ = make_rounds()
    rounds.round()
    assert (runtime.lists, runtime.filesystem_calls) == (1, 0)


def test_an_image_that_was_removed_by_hand_is_missed_in_the_next_round(make_rounds: Any, runtime: FakeRuntime) -> None:
    runtime.stored = {A}
    rounds, schedule = make_rounds()
    rounds.round()
    runtime.stored = set()
    rounds.round()
    assert schedule.snapshot()[0].state is ImageState.WAITING


def test_a_source_that_fails_keeps_its_last_answer(make_rounds: Any, source: FakeSource) -> None:
    rounds, schedule = make_rounds()
    rounds.round()
    source.fails = True
    rounds.round()
    assert [status.reference for status in schedule.snapshot()] == [A]


def test_it_is_ready_only_when_sources_have_answered_and_images_are_settled(
    make_rounds: Any, source: FakeSource, runtime: FakeRuntime
) -> None:
    rounds, _ = make_rounds()
    source.fails = True
    rounds.round()
    assert not rounds.first_sync_done()
    source.fails = False
    rounds.round()
    assert not rounds.first_sync_done()
    runtime.stored = {A}
    rounds.round()
    assert rounds.first_sync_done()
    runtime.stored = set()
    rounds.round()
    assert rounds.first_sync_done(), "once true it stays true"


def test_too_little_room_holds_what_is_missing(make_rounds: Any) -> None:
    rounds, schedule = make_rounds(free=1.0)
    rounds.round()
    assert schedule.snapshot()[0].state is ImageState.HELD


def test_too_little_room_keeps_a_tag_that_may_have_moved_from_being_checked(make_rounds: Any, runtime: FakeRuntime) -> None:
    rounds, schedule = make_rounds(free=1.0, policy=PullPolicy.ALWAYS)
    runtime.stored = {A}
    rounds.round()
    assert schedule.snapshot()[0].state is ImageState.PRESENT
    assert schedule.idle()


def test_a_runtime_that_is_away_is_asked_again_soon(make_rounds: Any, runtime: FakeRuntime) -> None:
    rounds, schedule = make_rounds()
    rounds.round()
    runtime.away = True
    for _ in range(20):
        rounds.round()
        assert 0.9 <= rounds.next_wait() <= 5.0
    assert rounds.runtime_error
    runtime.away = False
    rounds.round()
    assert rounds.runtime_error == ""
    assert schedule.snapshot()


def test_a_gateway_that_is_away_at_start_is_asked_ever_more_rarely(make_rounds: Any, source: FakeSource) -> None:
    source.fails = True
    rounds, _ = make_rounds()
    waits = []
    for _ in range(15):
        rounds.round()
        waits.append(rounds.next_wait())
    assert waits[0] <= 1.0
    assert 270 <= waits[-1] <= 300


def test_no_wait_is_longer_than_the_interval(make_rounds: Any) -> None:
    rounds, _ = make_rounds(interval=10.0)
    waits = []
    for _ in range(50):
        rounds.round()
        waits.append(rounds.next_wait())
    assert all(5.0 <= wait <= 10.0 for wait in waits)
    assert all(9.0 <= wait <= 10.0 for wait in waits[1:])


def test_nodes_that_start_together_part_after_their_first_round(make_rounds: Any) -> None:
    waits = set()
    for number in range(10):
        rounds, _ = make_rounds(node=f"node-{number}")
        rounds.round()
        waits.add(rounds.next_wait())
    assert len(waits) == 10


def test_a_bad_name_is_reported_once(make_rounds: Any, source: FakeSource, caplog: pytest.LogCaptureFixture) -> None:
    source.images = ("Bad", "a")
    rounds, _ = make_rounds()
    for _ in range(3):
        rounds.round()
    assert caplog.text.count("never will be under this name") == 1


def test_an_image_for_other_nodes_is_not_pulled_here(make_rounds: Any, source: FakeSource) -> None:
    source.selector = (("gpu", "yes"),)
    rounds, schedule = make_rounds()
    rounds.round()
    assert schedule.snapshot() == ()
    assert [entry.image for entry in rounds.wanted.elsewhere] == ["a"]


def test_a_round_without_the_nodes_labels_is_not_complete_and_the_next_one_comes_soon(
    make_rounds: Any, source: FakeSource, runtime: FakeRuntime, clock: Any
) -> None:
    source.selector = (("gpu", "yes"),)
    nodes = FakeNodes()
    node = Node(name="n", labels={}, api=nodes, min_free_percent=15.0, clock=clock, room=lambda _path: 50.0)
    rounds, schedule = make_rounds(served=node)
    rounds.round()
    assert not rounds.first_sync_done(), "the image may be for this node"
    assert rounds.last_sync is None
    assert rounds.next_wait() <= 1.0
    nodes.labels = {"gpu": "yes"}
    rounds.round()
    assert [status.reference for status in schedule.snapshot()] == [A]
    runtime.stored = {A}
    rounds.round()
    assert rounds.first_sync_done()
    assert rounds.next_wait() >= 270


def test_waking_ends_the_wait_and_stopping_ends_the_run(make_rounds: Any, runtime: FakeRuntime) -> None:
    import threading

    rounds, _ = make_rounds()
    seen = threading.Semaphore(0)
    original = runtime.images

    def images() -> list[StoredImage]:
        seen.release()
        return original()

    runtime.images = images  # type: ignore[method-assign]  # to see rounds happen
    thread = threading.Thread(target=rounds.run)
    thread.start()
    assert seen.acquire(timeout=5)
    rounds.wake()
    assert seen.acquire(timeout=5)
    rounds.stop()
    thread.join(5)
    assert not thread.is_alive()
