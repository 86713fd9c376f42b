from typing import Any

import pytest

from kernel_image_puller.errors import RegistryBusy
from kernel_image_puller.reporting.metrics import PullerMetrics
from kernel_image_puller.scheduling import Job


def _values(metrics: PullerMetrics) -> dict[str, float]:
    lines = metrics.text().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


@pytest.fixture
def metrics(make_schedule: Any, wanted: Any) -> PullerMetrics:
    schedule = make_schedule()
    schedule.reconcile(wanted("a", "b"), {"docker.io/library/a:latest": 1})
    made = PullerMetrics()
    made.show(
        statuses=schedule.snapshot,
        queue_depth=schedule.queue_depth,
        first_sync=schedule.first_settled,
        last_sync=lambda: 12.0,
        per_image=True,
    )
    return made


def test_every_label_value_exists_from_the_start(metrics: PullerMetrics) -> None:
    values = _values(metrics)
    for outcome in ("success", "checked", "permanent", "authentication", "transient", "registry", "disk_full", "cancelled"):
        assert values[f'kip_image_pulls_total{{outcome="{outcome}"}}'] == 0
    assert values['kip_kernelspec_fetches_total{outcome="failure"}'] == 0


def test_gauges_show_the_schedule_at_this_moment(metrics: PullerMetrics) -> None:
    values = _values(metrics)
    assert values['kip_images{state="desired"}'] == 2
    assert values['kip_images{state="present"}'] == 1
    assert values['kip_images{state="pulling"}'] == 0
    assert values["kip_queue_depth"] == 1
    assert values["kip_first_sync_complete"] == 0
    assert values["kip_last_successful_sync_timestamp_seconds"] == 12
    assert values['kip_image_present{image="docker.io/library/b:latest"}'] == 0


def test_tries_are_counted_by_their_outcome(metrics: PullerMetrics, wanted: Any) -> None:
    (image,) = wanted("a").values()
    metrics.observe_pull(Job(image=image, refresh=False), 7, 1.5)
    metrics.observe_pull(Job(image=image, refresh=True), 7, 0.1)
    metrics.observe_pull(Job(image=image, refresh=False), RegistryBusy("429"), 0.1)
    metrics.observe_fetch(False)
    values = _values(metrics)
    assert values['kip_image_pulls_total{outcome="success"}'] == 1
    assert values['kip_image_pulls_total{outcome="checked"}'] == 1
    assert values['kip_image_pull_retries_total{reason="registry"}'] == 1
    assert values['kip_image_pull_duration_seconds_bucket{le="2.5",outcome="success"}'] == 1
    assert values['kip_kernelspec_fetches_total{outcome="failure"}'] == 1
