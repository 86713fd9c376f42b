"""The desired-state loop: what should be here, what is here, and the difference to the schedule."""

import hashlib
import logging
import random
import threading
from collections.abc import Callable, Sequence

from kernel_image_puller.cleanup import Cleaner
from kernel_image_puller.clock import Clock
from kernel_image_puller.errors import RuntimeAway
from kernel_image_puller.logs import fields
from kernel_image_puller.node import Node
from kernel_image_puller.runtimes.protocol import Runtime, StoredImage
from kernel_image_puller.scheduling import Schedule
from kernel_image_puller.sources.combined import CombinedSources
from kernel_image_puller.wanted import PullPolicy, WantedImages, WantingRules, decide

__all__ = ["Rounds"]

_LOGGER = logging.getLogger(__name__)
_JITTER = 0.1
_LONGEST_WAIT_FOR_RUNTIME = 5.0


class Rounds:
    """Runs a round in every interval, sooner while something is away that was never there or must come back.

    Parameters
    ----------
    sources
        Where the names of images come from.
    runtime
        What has the images.
    schedule
        Is told what should be and what is.
    node
        This node.
    rules
        The administrator's part of the decision.
    cleaner
        Removes what nobody wants any more.
    interval
        Seconds from one round to the next, at most.
    clock
        Tells the time.
    fetched
        Called after every round with whether all sources answered.
    """

    def __init__(  # noqa: PLR0913  wiring: every part is given by its name
        self,
        *,
        sources: CombinedSources,
        runtime: Runtime,
        schedule: Schedule,
        node: Node,
        rules: WantingRules,
        cleaner: Cleaner,
        interval: float,
        clock: Clock,
        fetched: Callable[[bool], None] = lambda _answered: None,
    ) -> None:
        self._sources = sources
        self._runtime = runtime
        self._schedule = schedule
        self._node = node
        self._rules = rules
        self._cleaner = cleaner
        self._interval = interval
        self._clock = clock
        self._fetched = fetched
        self._condition = threading.Condition()
        self._wake = False
        self._stopping = False
        self._rounds = 0
        self._hasty_rounds = 0
        self._complete_round = False
        self._first_sync = False
        self.wanted = WantedImages()
        self.runtime_error = ""
        self.last_sync: float | None = None
        """When the last round ended well, in seconds since 1970."""
        self.last_started = clock.monotonic()

    def run(self) -> None:
        """Run rounds until `stop` is called."""
        while not self._stopping:
            self.round()
            self._wait(self.next_wait())

    def stop(self) -> None:
        """Let `run` return after the round that it is in."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()

    def wake(self) -> None:
        """Begin the next round at once."""
        with self._condition:
            self._wake = True
            self._condition.notify_all()

    def first_sync_done(self) -> bool:
        """Tell whether every image that was wanted first has been settled; once true it stays true."""
        if not self._first_sync and self._complete_round and self._schedule.first_settled():
            self._first_sync = True
            _LOGGER.info("The first round is done", extra=fields(images=len(self.wanted.images)))
        return self._first_sync

    def round(self) -> None:
        """Ask the sources and the runtime once, and tell the schedule the difference."""
        self.last_started = self._clock.monotonic()
        self._rounds += 1
        requests = self._sources.fetch()
        self._fetched(self._sources.healthy)
        labels = self._node.labels() if any(request.node_selector for request in requests) else {}
        wanted = decide(requests, self._rules, labels)
        self._report(wanted)
        self.wanted = wanted
        try:
            as_of = self._clock.monotonic()
            images = self._runtime.images()
            present = _sizes(images)
            # A tag that is checked may have moved, and then it is pulled too.
            needs_room = any(name not in present or image.policy is PullPolicy.ALWAYS for name, image in wanted.images.items())
            hold = self._node.hold_reason(self._runtime.image_filesystem()) if needs_room else ""
        except RuntimeAway as error:
            if not self.runtime_error:
                _LOGGER.warning("The container runtime doesn't answer", extra=fields(runtime=self._runtime.name, error=error))
            self.runtime_error = str(error)
            return
        if self.runtime_error:
            _LOGGER.info("The container runtime answers again", extra=fields(runtime=self._runtime.name))
            self.runtime_error = ""
        self._schedule.reconcile(wanted.images, present, hold=hold, as_of=as_of)
        self._complete_round = self._complete_round or self._knows_everything()
        # Only what all sources say together tells that nobody wants an image.
        if self._sources.healthy and not wanted.undecided:
            self._cleaner.clean(wanted.images.keys(), images)
            self.last_sync = self._clock.wall()
        self.first_sync_done()

    def next_wait(self) -> float:
        """Return the seconds to the next round."""
        if self.runtime_error or not self._knows_everything():
            self._hasty_rounds = min(self._hasty_rounds + 1, 30)
            longest = _LONGEST_WAIT_FOR_RUNTIME if self.runtime_error else self._interval
            return min(2.0 ** (self._hasty_rounds - 1), longest, self._interval) * _drift()
        self._hasty_rounds = 0
        if self._rounds == 1:
            # Nodes that were started together, by a rollout, part after their first round: each at its own time.
            return self._interval * (0.5 + 0.5 * _fraction(self._node.name))
        return self._interval * _drift()

    def _knows_everything(self) -> bool:
        """Tell whether every source has answered, and for which of their images this node is."""
        return self._sources.complete and not self.wanted.undecided

    def _wait(self, seconds: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._wake or self._stopping, seconds)
            self._wake = False

    def _report(self, wanted: WantedImages) -> None:
        for rejection in set(wanted.rejected) - set(self.wanted.rejected):
            _LOGGER.error(
                "An image can't be pulled and never will be under this name",
                extra=fields(image=rejection.image, wanted_by=rejection.wanted_by, reason=rejection.reason),
            )


def _sizes(images: Sequence[StoredImage]) -> dict[str, int]:
    return {name: image.size for image in images for name in image.names}


def _drift() -> float:
    return 1.0 - _JITTER * random.random()  # noqa: S311  spreads load, protects nothing


def _fraction(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
