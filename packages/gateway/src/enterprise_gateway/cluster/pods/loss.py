"""Decides whether a kernel is lost whose pod the cluster has begun to doubt.

A node that stops reporting has its pods marked as not ready, and minutes later deleted, though their containers may well
run: its kubelet restarts, or the network between it and the API server is away for a while. What a kernel has in memory
can't be had back. So the kernel itself is asked, and only its own silence for as long as a setting says makes it lost.

Every replica asks by its own way to the kernel. The one that may act and hears nothing for half of that time asks the
others, on the pod; one that hears the kernel answers there. A loss is written on the pod too, so that all replicas take it
for the kernel's end, also those that come later.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from enterprise_gateway.cluster.leadership.leader import Leadership
from enterprise_gateway.cluster.pods.annotations import text_of
from enterprise_gateway.cluster.watch.pod_watch import PodWatch
from enterprise_gateway_common import labels

__all__ = ["LossDetector"]

_log = logging.getLogger(__name__)

_PAUSE_PART = 0.125
_PAUSE_SECONDS = 0.5, 5.0


class LossDetector:
    """Finds out whether one kernel is lost, and writes it on the kernel's pod where it is.

    Parameters
    ----------
    answers
        Asks the kernel itself; tells within some seconds whether it answers.
    leadership
        Who may act on the kernel, and so declare it lost.
    grace
        Seconds of silence after which it is.
    identity
        Tells this process from the other replicas.
    now, clock
        The time of day, for what is written down, and seconds that only go forward.
    """

    def __init__(
        self,
        *,
        answers: Callable[[], Awaitable[bool]],
        leadership: Leadership,
        grace: float,
        identity: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answers = answers
        self._leadership = leadership
        self._grace = grace
        self._identity = identity
        self._now = now
        self._clock = clock

    async def settle(self, watch: PodWatch, *, mark: Callable[[Mapping[str, str]], Awaitable[bool]], started_here: bool) -> None:
        """Return when the pod isn't in doubt any more: its node reports again, it has ended, or it is marked as lost.

        Parameters
        ----------
        mark
            Writes annotations on the pod, and tells whether that was possible.
        started_here
            Whether this very process started the kernel.
        """
        shortest, longest = _PAUSE_SECONDS
        pause = min(max(shortest, self._grace * _PAUSE_PART), longest)
        silent_since, question, asked_at = self._clock(), "", 0.0
        while watch.in_doubt:
            if await self._answers():
                silent_since, question = self._clock(), ""
                await self._answer_others(watch, mark)
            elif question and _written(watch, labels.HEARD_ANNOTATION) == question:
                silent_since, question = self._clock(), ""
            elif self._leadership.may_act(started_here=started_here):
                if question and self._clock() - asked_at >= self._grace / 2:
                    if await mark({labels.LOSS_ANNOTATION: text_of(self._now())}):
                        _log.warning("A kernel is lost: neither its node nor the kernel itself answers", extra=_fields(watch))
                        return
                elif not question and self._clock() - silent_since >= self._grace / 2:
                    posed = f"{self._identity} {text_of(self._now())}"
                    if await mark({labels.LOSS_QUESTION_ANNOTATION: posed}):
                        question, asked_at = posed, self._clock()
            await watch.changed(pause)

    async def _answer_others(self, watch: PodWatch, mark: Callable[[Mapping[str, str]], Awaitable[bool]]) -> None:
        question = _written(watch, labels.LOSS_QUESTION_ANNOTATION)
        if question and not question.startswith(f"{self._identity} ") and question != _written(watch, labels.HEARD_ANNOTATION):
            await mark({labels.HEARD_ANNOTATION: question})


def _written(watch: PodWatch, annotation: str) -> str:
    return watch.state.annotations.get(annotation, "") if watch.state is not None else ""


def _fields(watch: PodWatch) -> dict[str, str]:
    pod = watch.state
    return {"kernel_id": pod.kernel_id, "node": pod.node} if pod is not None else {}
