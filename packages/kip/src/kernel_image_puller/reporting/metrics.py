"""Every metric of this program, declared in one place. Label values exist from the start, with zero."""

from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from kernel_image_puller.errors import (
    AuthenticationFailed,
    DiskFull,
    PermanentPullError,
    PullCancelled,
    PullFailed,
    RegistryBusy,
    RuntimeAway,
    TransientPullError,
)
from kernel_image_puller.scheduling import Job
from kernel_image_puller.states import ImageState, ImageStatus

__all__ = ["CONTENT_TYPE", "PullerMetrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SUCCESS, _UNCHANGED = "success", "checked"
_REASONS = tuple(
    error.reason
    for error in (
        PermanentPullError,
        AuthenticationFailed,
        TransientPullError,
        RegistryBusy,
        DiskFull,
        RuntimeAway,
        PullCancelled,
    )
)
_BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600)


class PullerMetrics:
    """What is counted as it happens; what is only looked at is looked at when somebody asks."""

    def __init__(self) -> None:
        # Who was counted since when is of no use here and would double the page.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library types the rest
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._pulls = Counter("kip_image_pulls", "Tries to pull an image.", ["outcome"], registry=self._registry)
        self._seconds = Histogram(
            "kip_image_pull_duration_seconds",
            "How long a try took.",
            ["outcome"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._retries = Counter("kip_image_pull_retries", "Tries that failed, by reason.", ["reason"], registry=self._registry)
        self._fetches = Counter(
            "kip_kernelspec_fetches", "Rounds in which the sources were asked.", ["outcome"], registry=self._registry
        )
        for outcome in (_SUCCESS, _UNCHANGED, *_REASONS):
            self._pulls.labels(outcome)
            self._seconds.labels(outcome)
        for reason in _REASONS:
            self._retries.labels(reason)
        for outcome in ("success", "failure"):
            self._fetches.labels(outcome)

    def observe_pull(self, job: Job, outcome: int | PullFailed, seconds: float) -> None:
        """Count one try."""
        if isinstance(outcome, PullFailed):
            label = outcome.reason
            self._retries.labels(label).inc()
        else:
            label = _UNCHANGED if job.refresh else _SUCCESS
        self._pulls.labels(label).inc()
        self._seconds.labels(label).observe(seconds)

    def observe_fetch(self, answered: bool) -> None:  # noqa: FBT001  the one thing that there is to tell
        """Count one round's questions to the sources."""
        self._fetches.labels("success" if answered else "failure").inc()

    def show(
        self,
        *,
        statuses: Callable[[], Iterable[ImageStatus]],
        queue_depth: Callable[[], int],
        first_sync: Callable[[], bool],
        last_sync: Callable[[], float | None],
        per_image: bool,
    ) -> None:
        """Show also what these functions return at the moment when the metrics are read."""
        self._registry.register(_Snapshot(statuses, queue_depth, first_sync, last_sync, per_image=per_image))

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _Snapshot(Collector):
    def __init__(
        self,
        statuses: Callable[[], Iterable[ImageStatus]],
        queue_depth: Callable[[], int],
        first_sync: Callable[[], bool],
        last_sync: Callable[[], float | None],
        *,
        per_image: bool,
    ) -> None:
        self._statuses = statuses
        self._queue_depth = queue_depth
        self._first_sync = first_sync
        self._last_sync = last_sync
        self._per_image = per_image

    def describe(self) -> Iterable[Metric]:
        """Return nothing: who registers this must not be asked for its figures before there are any."""
        return ()

    def collect(self) -> Iterator[Metric]:
        statuses = list(self._statuses())
        images = GaugeMetricFamily("kip_images", "Images of this node by state.", labels=["state"])
        states = Count(status.state for status in statuses)
        images.add_metric(["desired"], len(statuses))
        for state in ImageState:
            images.add_metric([state.value], states[state])
        yield images
        yield GaugeMetricFamily("kip_queue_depth", "Images that wait for a thread or for their time.", value=self._queue_depth())
        yield GaugeMetricFamily(
            "kip_first_sync_complete", "1 once every image that was wanted first is settled.", value=float(self._first_sync())
        )
        yield GaugeMetricFamily(
            "kip_last_successful_sync_timestamp_seconds", "When a round last ended well.", value=self._last_sync() or 0.0
        )
        if self._per_image:
            each = GaugeMetricFamily("kip_image_present", "1 if the image is on the node.", labels=["image"])
            for status in statuses:
                each.add_metric([status.reference], float(status.state is ImageState.PRESENT))
            yield each
