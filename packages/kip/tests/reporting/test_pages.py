import json
from types import SimpleNamespace
from typing import Any

import pytest

from kernel_image_puller.errors import PermanentPullError
from kernel_image_puller.reporting.metrics import PullerMetrics
from kernel_image_puller.reporting.pages import Pages
from kernel_image_puller.sources.combined import CombinedSources
from kernel_image_puller.sources.static import StaticSource
from kernel_image_puller.wanted import Rejection, WantedImages


@pytest.fixture
def world(make_schedule: Any, clock: Any) -> Any:
    rounds = SimpleNamespace(
        last_started=clock.monotonic(),
        first_sync_done=lambda: rounds.done,
        done=False,
        runtime_error="",
        last_sync=None,
        wanted=WantedImages(rejected=(Rejection("Bad", "x", "upper case"),)),
    )
    schedule = make_schedule()
    sources = CombinedSources(sources=[StaticSource(images=("a",))], clock=clock)
    pages = Pages(
        rounds=rounds,
        schedule=schedule,
        sources=sources,
        metrics=PullerMetrics(),
        node="n1",
        runtime="fake",
        stalled_after=100.0,
        clock=clock,
    )
    return SimpleNamespace(rounds=rounds, schedule=schedule, pages=pages.paths())


def test_it_is_alive_as_long_as_rounds_begin(world: Any, clock: Any) -> None:
    assert world.pages["/livez"]().status == world.pages["/healthz"]().status == 200
    clock.advance(101)
    assert world.pages["/livez"]().status == 503


def test_it_is_ready_after_the_first_round(world: Any) -> None:
    assert world.pages["/readyz"]().status == 503
    world.rounds.done = True
    assert world.pages["/readyz"]().status == 200


def test_the_status_tells_what_failed_why_and_when_it_is_tried_again(world: Any, wanted: Any) -> None:
    world.schedule.reconcile(wanted("a"), {})
    world.schedule.finish(world.schedule.take_now(), PermanentPullError("not found"))
    document = json.loads(world.pages["/status"]().body)
    (image,) = document["images"]
    assert (image["image"], image["state"], image["reason"], image["last_error"], image["tries"]) == (
        "docker.io/library/a:latest",
        "failed",
        "permanent",
        "not found",
        1,
    )
    assert image["next_try"].endswith("Z")
    assert document["rejected"] == [{"image": "Bad", "wanted_by": "x", "reason": "upper case"}]
    assert (document["node"], document["ready"]) == ("n1", False)


def test_the_status_shows_the_progress_of_a_pull(world: Any, wanted: Any) -> None:
    world.schedule.reconcile(wanted("a"), {})
    job = world.schedule.take_now()
    job.progress.done_bytes, job.progress.total_bytes = 5, 10
    (image,) = json.loads(world.pages["/status"]().body)["images"]
    assert image["progress"] == {"done_bytes": 5, "total_bytes": 10}


def test_metrics_are_in_prometheus_text_format(world: Any) -> None:
    page = world.pages["/metrics"]()
    assert page.content_type.startswith("text/plain; version=0.0.4")
    assert b"kip_image_pulls_total" in page.body
