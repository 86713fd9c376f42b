"""Carries out one try: every credential that applies, then none, within one time limit."""

import logging
from collections.abc import Callable

from kernel_image_puller.clock import Clock
from kernel_image_puller.credentials import CredentialStore
from kernel_image_puller.errors import AuthenticationFailed, PullCancelled, PullFailed, TransientPullError
from kernel_image_puller.logs import fields
from kernel_image_puller.runtimes.protocol import Credential, PullOrder, Runtime
from kernel_image_puller.scheduling import Job, Schedule

__all__ = ["PullObserver", "Puller"]

_LOGGER = logging.getLogger(__name__)

PullObserver = Callable[[Job, int | PullFailed, float], None]
"""Told of every try that is over: the job, the size or the error, the seconds it took."""


class Puller:
    """What one pulling thread does.

    Parameters
    ----------
    schedule
        Gives the jobs and takes their outcomes.
    runtime
        Brings the images.
    credentials
        Registry logins.
    timeout
        Seconds that one try may take, with all its credentials together.
    clock
        Tells the time.
    observe
        Told of every try that is over.
    """

    def __init__(
        self,
        *,
        schedule: Schedule,
        runtime: Runtime,
        credentials: CredentialStore,
        timeout: float,
        clock: Clock,
        observe: PullObserver,
    ) -> None:
        self._schedule = schedule
        self._runtime = runtime
        self._credentials = credentials
        self._timeout = timeout
        self._clock = clock
        self._observe = observe

    def run(self) -> None:
        """Take jobs until there are no more."""
        while (job := self._schedule.take()) is not None:
            self.do(job)

    def do(self, job: Job) -> None:
        """Carry out one job and bring its outcome back."""
        started = self._clock.monotonic()
        _LOGGER.info("Checking image" if job.refresh else "Pulling image", extra=fields(image=job.image.reference))
        outcome: int | PullFailed
        try:
            outcome = self._pull(job, started + self._timeout)
        except PullFailed as error:
            outcome = error
        seconds = self._clock.monotonic() - started
        _log(job, outcome, seconds)
        self._observe(job, outcome, seconds)
        self._schedule.finish(job, outcome)

    def _pull(self, job: Job, deadline: float) -> int:
        first = self._candidates(job)
        refusal = self._try_each(job, first, deadline)
        if isinstance(refusal, int):
            return refusal
        # A Secret that was renewed while we were refused: read once more, and only go back with what is new.
        self._credentials.read_again()
        renewed = tuple(candidate for candidate in self._candidates(job) if candidate not in first)
        if not renewed:
            raise refusal
        second = self._try_each(job, renewed, deadline)
        if isinstance(second, int):
            return second
        raise second

    def _candidates(self, job: Job) -> tuple[Credential | None, ...]:
        if not self._runtime.uses_credentials:
            return (None,)
        return (*self._credentials.candidates(job.image.reference), None)

    def _try_each(self, job: Job, candidates: tuple[Credential | None, ...], deadline: float) -> int | AuthenticationFailed:
        """Return the size, or what the registry said to the first, most specific credential."""
        refusal: AuthenticationFailed | None = None
        for candidate in candidates:
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise TransientPullError(f"{job.image.reference}: not pulled within {self._timeout:.0f} s")
            if job.cancellation.cancelled:
                raise PullCancelled(f"{job.image.reference}: cancelled")
            order = PullOrder(
                reference=job.image.reference,
                policy=job.image.policy,
                credential=candidate,
                timeout=left,
                written=job.image.written,
                cancellation=job.cancellation,
                progress=job.progress,
            )
            try:
                return self._runtime.pull(order)
            except AuthenticationFailed as error:
                refusal = refusal or error
        if refusal is None:
            raise AssertionError("there is always at least anonymous access to try")
        return refusal


def _log(job: Job, outcome: int | PullFailed, seconds: float) -> None:
    image = job.image.reference
    if isinstance(outcome, PullCancelled):
        _LOGGER.info("Cancelled a pull", extra=fields(image=image, seconds=seconds))
    elif isinstance(outcome, PullFailed):
        _LOGGER.warning(
            "Could not pull image", extra=fields(image=image, reason=outcome.reason, seconds=seconds, error=str(outcome))
        )
    else:
        _LOGGER.info(
            "Image is up to date" if job.refresh else "Pulled image", extra=fields(image=image, seconds=seconds, bytes=outcome)
        )
