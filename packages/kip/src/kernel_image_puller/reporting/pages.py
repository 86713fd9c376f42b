"""What stands on the pages."""

import json
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from kernel_image_puller import __version__
from kernel_image_puller.clock import Clock
from kernel_image_puller.reporting.http import Page
from kernel_image_puller.reporting.metrics import CONTENT_TYPE, PullerMetrics
from kernel_image_puller.rounds import Rounds
from kernel_image_puller.scheduling import Schedule
from kernel_image_puller.sources.combined import CombinedSources
from kernel_image_puller.states import ImageStatus

__all__ = ["Pages"]


class Pages:
    """Makes every page from what the other parts say at that moment.

    Parameters
    ----------
    stalled_after
        Seconds without a new round after which the program counts as stuck.
    """

    def __init__(
        self,
        *,
        rounds: Rounds,
        schedule: Schedule,
        sources: CombinedSources,
        metrics: PullerMetrics,
        node: str,
        runtime: str,
        stalled_after: float,
        clock: Clock,
    ) -> None:
        self._rounds = rounds
        self._schedule = schedule
        self._sources = sources
        self._metrics = metrics
        self._node = node
        self._runtime = runtime
        self._stalled_after = stalled_after
        self._clock = clock

    def paths(self) -> Mapping[str, Callable[[], Page]]:
        """Return path to page."""
        return {
            "/livez": self.live,
            "/healthz": self.live,
            "/readyz": self.ready,
            "/metrics": lambda: Page(self._metrics.text(), CONTENT_TYPE),
            "/status": self.status,
        }

    def live(self) -> Page:
        """Return 200 as long as rounds begin in time."""
        silent = self._clock.monotonic() - self._rounds.last_started
        if silent > self._stalled_after:
            return Page(f"no round for {silent:.0f} s\n".encode(), status=HTTPStatus.SERVICE_UNAVAILABLE)
        return Page(b"ok\n")

    def ready(self) -> Page:
        """Return 200 once the first round is done."""
        if self._rounds.first_sync_done():
            return Page(b"ok\n")
        return Page(b"the first round isn't done\n", status=HTTPStatus.SERVICE_UNAVAILABLE)

    def status(self) -> Page:
        """Return everything that is known, as JSON."""
        document = {
            "version": __version__,
            "node": self._node,
            "runtime": {"name": self._runtime, "error": self._rounds.runtime_error},
            "ready": self._rounds.first_sync_done(),
            "last_sync": _time(self._rounds.last_sync),
            "sources": [
                {
                    "name": source.name,
                    "images": source.images,
                    "last_answer": _time(source.last_answer),
                    "error": source.last_error,
                    "problems": list(source.problems),
                }
                for source in self._sources.statuses
            ],
            "images": [_image(status) for status in self._schedule.snapshot()],
            "rejected": [vars(rejection) for rejection in self._rounds.wanted.rejected],
            "elsewhere": [vars(rejection) for rejection in self._rounds.wanted.elsewhere],
        }
        return Page(json.dumps(document, indent=1).encode() + b"\n", "application/json")


def _image(status: ImageStatus) -> dict[str, Any]:
    document: dict[str, Any] = {
        "image": status.reference,
        "state": status.state.value,
        "policy": status.policy,
        "wanted_by": list(status.wanted_by),
        "size": status.size,
        "since": _time(status.since),
        "tries": status.tries,
        "last_error": status.last_error,
        "reason": status.reason,
        "next_try": _time(status.next_try),
    }
    if status.total_bytes:
        document["progress"] = {"done_bytes": status.done_bytes, "total_bytes": status.total_bytes}
    return document


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
