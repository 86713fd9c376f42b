"""What is to be done with a pool, from what it is and what it should be; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from enterprise_gateway.cluster.pods.annotations import is_ready
from enterprise_gateway.cluster.pods.diagnosis import cause_of_end, waiting_words
from enterprise_gateway.cluster.pods.state import PodState
from enterprise_gateway_common import labels

__all__ = ["PoolAim", "PoolSteps", "Removal", "decide", "superseded"]


@dataclass(frozen=True, kw_only=True)
class PoolAim:
    """What a pool should be."""

    fingerprint: str
    """Of its pods; empty where it can have none."""
    wanted: int
    start_seconds: float
    """What a pod has to become ready in."""
    at_once: int
    """How many may be on their way at the same time."""


@dataclass(frozen=True, kw_only=True)
class Removal:
    """A pod that is taken away."""

    pod: PodState
    reason: str
    failed: bool = False
    """Whether the next one would probably fare no better."""


@dataclass(frozen=True, kw_only=True)
class PoolSteps:
    """What is to be done."""

    make: int
    remove: Sequence[Removal]


def decide(pods: Iterable[PodState], aim: PoolAim, *, old_images: frozenset[str], making: int, now: datetime) -> PoolSteps:
    """Return the next steps towards what a pool should be.

    Parameters
    ----------
    pods
        Those that are there.
    old_images
        Digests whose images have been followed by others of the same name.
    making
        How many are being made, and not among them yet.
    """
    kept: list[PodState] = []
    remove: list[Removal] = []
    for pod in pods:
        if pod.deleting:
            continue
        removal = _unusable(pod, aim, old_images, now)
        if removal is None:
            kept.append(pod)
        else:
            remove.append(removal)
    # The youngest first, of those that aren't ready: they are the furthest from being of use.
    kept.sort(key=lambda pod: (is_ready(pod), pod.created), reverse=True)
    surplus = kept[max(0, aim.wanted) :]
    remove += [Removal(pod=pod, reason="fewer are wanted") for pod in surplus]
    kept = kept[: max(0, aim.wanted)]
    under_way = making + sum(not is_ready(pod) for pod in kept)
    missing = aim.wanted - len(kept) - making
    return PoolSteps(make=max(0, min(missing, aim.at_once - under_way)), remove=remove)


def _unusable(pod: PodState, aim: PoolAim, old_images: frozenset[str], now: datetime) -> Removal | None:
    if pod.labels.get(labels.POOL_FINGERPRINT) != aim.fingerprint:
        return Removal(pod=pod, reason="the kernelspec, its template or a setting has changed")
    if pod.ended:
        return Removal(pod=pod, reason=cause_of_end(pod), failed=True)
    if pod.kernel is not None and pod.kernel.image_id in old_images:
        return Removal(pod=pod, reason="its image was followed by another of the same name")
    if not is_ready(pod) and (now - datetime.fromisoformat(pod.created)).total_seconds() > aim.start_seconds:
        words = waiting_words(pod) or "nothing says why"
        return Removal(pod=pod, reason=f"it wasn't ready within {aim.start_seconds:g} seconds: {words}", failed=True)
    return None


def superseded(pods: Iterable[PodState]) -> frozenset[str]:
    """Return the digests of images that were followed by another, among pods that name the same image."""
    first_seen: dict[str, str] = {}
    for pod in pods:
        image_id = pod.kernel.image_id if pod.kernel is not None else ""
        if image_id:
            first_seen[image_id] = min(pod.created, first_seen.get(image_id, pod.created))
    newest = max(first_seen.values(), default="")
    return frozenset(image_id for image_id, moment in first_seen.items() if moment < newest)
