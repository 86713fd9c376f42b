"""What the replicas of a gateway tell each other of a kernel: annotations on its pod, which every informer sees."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum

from enterprise_gateway.cluster.pods.state import PodState
from enterprise_gateway_common import labels

__all__ = [
    "Cause",
    "Ending",
    "ending_of",
    "in_use_at",
    "is_ready",
    "last_activity_of",
    "moment_of",
    "question_of",
    "text_of",
    "was_started",
]


class Cause(StrEnum):
    """Why a replica ends a pod."""

    SHUTDOWN = "shutdown"
    RESTART = "restart"
    GIVEN_UP = "given-up"
    NOT_STARTED = "not-started"
    """Its kernel never came up, and clients know it."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """A pod's end that a replica announced."""

    cause: Cause
    at: str
    words: str = ""
    """For the kernel's clients."""

    def annotation(self) -> dict[str, str]:
        """Return what is written on the pod."""
        return {labels.ENDING_ANNOTATION: json.dumps(asdict(self))}


def ending_of(pod: PodState) -> Ending | None:
    """Return the end that a replica announced; `None` where none did, or in words that aren't known here."""
    try:
        written = json.loads(pod.annotations[labels.ENDING_ANNOTATION])
        return Ending(cause=Cause(written["cause"]), at=str(written["at"]), words=str(written["words"]))
    except (KeyError, ValueError, TypeError):
        return None


def text_of(moment: datetime) -> str:
    """Return a moment as it is written on a pod."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def moment_of(text: str | None) -> datetime | None:
    """Return the moment that is written; `None` where none is."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def was_started(pod: PodState) -> bool:
    """Tell whether a replica saw the kernel in this pod answer."""
    return labels.LAST_ACTIVITY_ANNOTATION in pod.annotations


def last_activity_of(pod: PodState) -> datetime | None:
    """Return when a replica last wrote that something had happened."""
    return moment_of(pod.annotations.get(labels.LAST_ACTIVITY_ANNOTATION))


def in_use_at(pod: PodState) -> datetime | None:
    """Return when a replica last answered that the kernel is in use."""
    return moment_of(pod.annotations.get(labels.IN_USE_ANNOTATION))


def is_ready(pod: PodState) -> bool:
    """Tell whether a pod of a pool waits for a claim, its supervisor and all."""
    return pod.running and not pod.ended and not pod.deleting and labels.POOL_READY_ANNOTATION in pod.annotations


def question_of(pod: PodState) -> str:
    """Return what tells one question of who is about to cull from another; empty where there is none."""
    return pod.annotations.get(labels.CULL_QUESTION_ANNOTATION, "")
