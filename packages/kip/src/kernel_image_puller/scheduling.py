"""Decides which image is pulled next, and keeps what is known of each.

Guarantees:

- One pull at a time for one image, even if nobody wanted it for a moment in between.
- At most `pullers` pulls at a time, and one more only for a registry from which nothing is being pulled: a slow registry
  never holds up the images of another one.
- A registry that has trouble gets one pull at a time until it works, each after a longer wait.
- A pull whose image nobody wants any more is cancelled.
- An image that waits for its next try holds no thread.

The daemon's loop says what should be (`reconcile`), the pulling threads take work (`take`) and bring back what became of
it (`finish`). All of it happens under one lock and none of it waits for anything but that.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kernel_image_puller.cancellation import Cancellation
from kernel_image_puller.clock import Clock
from kernel_image_puller.errors import DiskFull, PullCancelled, PullFailed, RegistryBusy, RuntimeAway, TransientPullError
from kernel_image_puller.retrying import PullFrequency, RegistryBackoff, RetryPolicy
from kernel_image_puller.runtimes.protocol import Progress
from kernel_image_puller.states import ImageState, ImageStatus
from kernel_image_puller.wanted import PullPolicy, WantedImage

__all__ = ["Job", "Schedule"]

_DISK_FULL_WAIT = 300.0
_LONGEST_RUNTIME_WAIT = 10.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """One try that a thread has taken upon itself."""

    image: WantedImage
    refresh: bool
    """Whether the image was on the node already and only its tag is checked."""
    cancellation: Cancellation = field(default_factory=Cancellation)
    progress: Progress = field(default_factory=Progress)


@dataclass
class _Ticket:
    image: WantedImage
    sequence: int
    since: float
    frequency: PullFrequency
    state: ImageState = ImageState.WAITING
    queued: bool = True
    settled: bool = False
    size: int = 0
    present_at: float = 0.0
    """When a pull brought it, by the clock's monotonic time."""
    tries: int = 0
    failed_series: int = 0
    not_before: float = 0.0
    last_error: str = ""
    reason: str = ""
    job: Job | None = None


class Schedule:
    """The images that this node should have, and the order in which they come.

    Parameters
    ----------
    pullers
        How many pulls may run at the same time.
    retries
        Tries of one image, and the waits between them.
    most_pulls_per_hour
        How often an image is brought back that somebody else removes.
    clock
        Tells the time.
    changed
        Called, quickly and under the lock, whenever anything that `snapshot` tells has changed.
    """

    def __init__(
        self,
        *,
        pullers: int,
        retries: RetryPolicy,
        most_pulls_per_hour: int,
        clock: Clock,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._pullers = pullers
        self._retries = retries
        self._most_pulls_per_hour = most_pulls_per_hour
        self._clock = clock
        self._changed = changed
        self._condition = threading.Condition()
        self._tickets: dict[str, _Ticket] = {}
        self._in_flight: dict[str, Job] = {}
        self._registries = RegistryBackoff(RetryPolicy(tries=1, first_wait=retries.first_wait, longest_wait=retries.longest_wait))
        self._sequence = 0
        self._held_until = 0.0
        self._hold_reason = ""
        self._paused_until = 0.0
        self._runtime_failures = 0
        self._closed = False

    # ------------------------------------------------------------------------------------------------- the loop's side

    def reconcile(
        self, wanted: Mapping[str, WantedImage], present: Mapping[str, int], *, hold: str = "", as_of: float | None = None
    ) -> None:
        """Take over what should be on the node and what is there.

        Parameters
        ----------
        wanted
            Complete name to image.
        present
            Complete name to size of everything that the runtime has.
        hold
            Why nothing may be pulled now; empty when it may.
        as_of
            When the runtime was asked what it has, by the clock's monotonic time: what came later isn't missing. Now, where
            nothing is given.
        """
        now = self._clock.monotonic()
        with self._condition:
            for name in [name for name in self._tickets if name not in wanted]:
                del self._tickets[name]
                if name in self._in_flight:
                    self._in_flight[name].cancellation.cancel()
            hold = hold or (self._hold_reason if now < self._held_until else "")
            for name, image in wanted.items():
                ticket = self._tickets.get(name) or self._new_ticket(name, image)
                ticket.image = image
                came_later = as_of is not None and ticket.state is ImageState.PRESENT and ticket.present_at > as_of
                if ticket.job is None and not came_later:
                    self._update(ticket, present.get(name), hold, now)
            self._condition.notify_all()
            self._changed()

    def _new_ticket(self, name: str, image: WantedImage) -> _Ticket:
        self._sequence += 1
        frequency = PullFrequency(self._most_pulls_per_hour)
        ticket = self._tickets[name] = _Ticket(image, self._sequence, self._clock.wall(), frequency)
        return ticket

    def _update(self, ticket: _Ticket, present_size: int | None, hold: str, now: float) -> None:
        if present_size is not None:
            ticket.size = present_size
            # A failed check of a tag stays visible until the next check, which is due now.
            refresh = ticket.image.policy is PullPolicy.ALWAYS and not hold
            ticket.queued, ticket.tries, ticket.failed_series = refresh, 0, 0
            if ticket.state is not ImageState.PRESENT:
                ticket.last_error = ticket.reason = ""
            self._set(ticket, ImageState.PRESENT)
            return
        again = ticket.frequency.next_time(now)
        if hold or again is not None:
            ticket.queued = False
            ticket.not_before = again or 0.0
            ticket.last_error = hold or "it was brought back as often as it may be within an hour"
            ticket.reason = "held"
            self._set(ticket, ImageState.HELD)
        elif ticket.state is ImageState.RETRYING or (ticket.state is ImageState.FAILED and now < ticket.not_before):
            return
        elif ticket.state is not ImageState.WAITING:
            ticket.tries, ticket.queued, ticket.not_before = 0, True, 0.0
            self._set(ticket, ImageState.WAITING)

    def first_settled(self) -> bool:
        """Tell whether every image has once been present, failed or held."""
        with self._condition:
            return all(ticket.settled for ticket in self._tickets.values())

    def snapshot(self) -> tuple[ImageStatus, ...]:
        """Return the status of every wanted image, sorted by name."""
        with self._condition:
            offset = self._clock.wall() - self._clock.monotonic()
            return tuple(self._status(name, self._tickets[name], offset) for name in sorted(self._tickets))

    def queue_depth(self) -> int:
        """Return how many images wait for a thread or for their time."""
        with self._condition:
            return sum(ticket.queued for ticket in self._tickets.values())

    def idle(self) -> bool:
        """Tell whether nothing is being pulled or checked, and nothing waits for it."""
        with self._condition:
            return not self._in_flight and not any(ticket.queued for ticket in self._tickets.values())

    def runtime_failures(self) -> int:
        """Return how many times on end the runtime didn't answer."""
        with self._condition:
            return self._runtime_failures

    def close(self) -> None:
        """Cancel every pull and send every thread home."""
        with self._condition:
            self._closed = True
            jobs = list(self._in_flight.values())
            self._condition.notify_all()
        for job in jobs:
            job.cancellation.cancel()

    # ---------------------------------------------------------------------------------------------- the threads' side

    def take(self) -> Job | None:
        """Wait for the next job; `None` when there will be none any more."""
        with self._condition:
            while not self._closed:
                ticket, wait = self._next()
                if ticket is not None:
                    return self._start(ticket)
                self._condition.wait(wait)
            return None

    def take_now(self) -> Job | None:
        """Return the next job if there is one that may start now."""
        with self._condition:
            ticket, _ = self._next()
            return None if ticket is None or self._closed else self._start(ticket)

    def finish(self, job: Job, outcome: int | PullFailed) -> None:
        """Note what became of a job: the image's size, or the error."""
        now = self._clock.monotonic()
        name, registry = str(job.image.reference), job.image.reference.registry
        with self._condition:
            del self._in_flight[name]
            if isinstance(outcome, RegistryBusy):
                self._registries.failed(registry, now, outcome.retry_after)
            elif not isinstance(outcome, (RuntimeAway, PullCancelled)):
                self._registries.answered(registry)
            self._runtime_failures = self._runtime_failures + 1 if isinstance(outcome, RuntimeAway) else 0
            ticket = self._tickets.get(name)
            if ticket is not None and ticket.job is job:
                ticket.job = None
                if isinstance(outcome, PullFailed):
                    self._failed(ticket, job, outcome, now)
                else:
                    self._succeeded(ticket, job, outcome, now)
            self._condition.notify_all()
            self._changed()

    # -------------------------------------------------------------------------------------------------- under the lock

    def _next(self) -> tuple[_Ticket | None, float | None]:
        """Return the ticket whose turn it is, or how long nothing can be started; `None` is until something changes."""
        now = self._clock.monotonic()
        if now < self._paused_until:
            return None, self._paused_until - now
        busy: dict[str, int] = {}
        for job in self._in_flight.values():
            busy[job.image.reference.registry] = busy.get(job.image.reference.registry, 0) + 1
        best: _Ticket | None = None
        earliest: float | None = None
        for ticket in self._tickets.values():
            registry = ticket.image.reference.registry
            if not ticket.queued or str(ticket.image.reference) in self._in_flight or not self._has_room(registry, busy):
                continue
            due = max(ticket.not_before, self._registries.blocked_until(registry))
            if due > now:
                earliest = due if earliest is None else min(earliest, due)
            elif best is None or _rank(ticket, busy) < _rank(best, busy):
                best = ticket
        return best, None if earliest is None else earliest - now

    def _has_room(self, registry: str, busy: Mapping[str, int]) -> bool:
        running_here = busy.get(registry, 0)
        if running_here and self._registries.is_suspect(registry):
            return False
        running = len(self._in_flight)
        return running < self._pullers or (running == self._pullers and not running_here)

    def _start(self, ticket: _Ticket) -> Job:
        job = Job(image=ticket.image, refresh=ticket.state is ImageState.PRESENT)
        ticket.job, ticket.queued = job, False
        ticket.tries += 1
        if not job.refresh:
            self._set(ticket, ImageState.PULLING)
        self._in_flight[str(ticket.image.reference)] = job
        self._changed()
        return job

    def _succeeded(self, ticket: _Ticket, job: Job, size: int, now: float) -> None:
        ticket.size, ticket.present_at = size or ticket.size, now
        ticket.last_error = ticket.reason = ""
        ticket.failed_series = 0
        ticket.not_before = 0.0
        if not job.refresh:
            ticket.frequency.record(now)
        self._set(ticket, ImageState.PRESENT)

    def _failed(self, ticket: _Ticket, job: Job, error: PullFailed, now: float) -> None:
        if isinstance(error, PullCancelled):
            self._set(ticket, ImageState.PRESENT if job.refresh else ImageState.WAITING)
            return
        ticket.last_error, ticket.reason = str(error), error.reason
        if isinstance(error, RuntimeAway):
            self._paused_until = now + min(2.0 ** min(self._runtime_failures - 1, 10), _LONGEST_RUNTIME_WAIT)
            ticket.tries -= 1
            ticket.queued = True
        elif isinstance(error, DiskFull):
            self._held_until, self._hold_reason = now + _DISK_FULL_WAIT, str(error)
            self._hold_all(str(error))
        elif isinstance(error, TransientPullError) and not self._retries.is_exhausted(ticket.tries):
            retry_after = error.retry_after if isinstance(error, RegistryBusy) else None
            ticket.not_before = now + self._retries.wait(ticket.tries, retry_after)
            ticket.queued = True
        else:
            ticket.failed_series += 1
            ticket.not_before = now + self._retries.wait(ticket.failed_series)
        if job.refresh:
            # The image is there all the same; that its tag could not be checked stands in last_error.
            return
        if isinstance(error, DiskFull):
            self._set(ticket, ImageState.HELD)
        else:
            self._set(ticket, ImageState.RETRYING if ticket.queued else ImageState.FAILED)

    def _hold_all(self, why: str) -> None:
        for ticket in self._tickets.values():
            if ticket.queued and ticket.state is ImageState.PRESENT:
                # A tag that has moved would be pulled.
                ticket.queued = False
            elif ticket.queued:
                ticket.queued, ticket.last_error, ticket.reason = False, why, DiskFull.reason
                self._set(ticket, ImageState.HELD)

    def _set(self, ticket: _Ticket, state: ImageState) -> None:
        if ticket.state is not state:
            ticket.state, ticket.since = state, self._clock.wall()
        if state in {ImageState.PRESENT, ImageState.FAILED, ImageState.HELD}:
            ticket.settled = True

    def _status(self, name: str, ticket: _Ticket, offset: float) -> ImageStatus:
        waits = ticket.state in {ImageState.RETRYING, ImageState.FAILED, ImageState.HELD} and ticket.not_before > 0
        progress = ticket.job.progress if ticket.job else None
        return ImageStatus(
            reference=name,
            state=ticket.state,
            policy=ticket.image.policy.value,
            wanted_by=ticket.image.wanted_by,
            size=ticket.size,
            since=ticket.since,
            tries=ticket.tries,
            last_error=ticket.last_error,
            reason=ticket.reason,
            next_try=ticket.not_before + offset if waits else None,
            done_bytes=progress.done_bytes if progress else 0,
            total_bytes=progress.total_bytes if progress else 0,
        )


def _rank(ticket: _Ticket, busy: Mapping[str, int]) -> tuple[int, int]:
    """Registries take turns; within a registry the image that has waited longest comes first."""
    return busy.get(ticket.image.reference.registry, 0), ticket.sequence
