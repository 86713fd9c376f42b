"""From what the sources say to what this node should have: pure, the same answer for the same input."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from enterprise_gateway_common.image_reference import ImageReference, InvalidImageReference, parse_image_reference

__all__ = ["ImageRequest", "PullPolicy", "Rejection", "WantedImage", "WantedImages", "WantingRules", "decide"]


class PullPolicy(StrEnum):
    """When a registry is asked for an image."""

    IF_NOT_PRESENT = "IfNotPresent"
    ALWAYS = "Always"


@dataclass(frozen=True)
class ImageRequest:
    """One image that a source names, as it is written there."""

    image: str
    wanted_by: str
    """The kernelspec, or the source where there is none."""
    policy: PullPolicy | None = None
    node_selector: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class WantedImage:
    """One image that this node should have, whoever and however many want it."""

    reference: ImageReference
    policy: PullPolicy
    wanted_by: tuple[str, ...]
    written: tuple[str, ...] = ()
    """The name as it stands in pods, in every way that somebody writes it: a kubelet tells these ways apart."""


@dataclass(frozen=True)
class Rejection:
    """An image that is not pulled here, and why."""

    image: str
    wanted_by: str
    reason: str


@dataclass(frozen=True)
class WantedImages:
    """Everything that the sources name, sorted into what is pulled and what isn't."""

    images: Mapping[str, WantedImage] = field(default_factory=dict)
    """Complete name to image."""
    rejected: tuple[Rejection, ...] = ()
    """Names that no runtime takes, or of a registry that isn't allowed."""
    elsewhere: tuple[Rejection, ...] = ()
    """Images for nodes with other labels."""
    undecided: bool = False
    """Whether some of these might be for this node after all, because its labels aren't known yet."""


@dataclass(frozen=True, kw_only=True)
class WantingRules:
    """The administrator's part of the decision."""

    policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    default_registry: str = ""
    allowed_registries: tuple[str, ...] = ()


def decide(requests: Iterable[ImageRequest], rules: WantingRules, node_labels: Mapping[str, str] | None) -> WantedImages:
    """Return what a node with these labels should have.

    Several names of one image become one image. `Always` wins over `IfNotPresent`, because who asked for it needs it.
    With labels that aren't known (`None`) an image with a node selector is not for this node as yet: that is undecided.
    """
    images: dict[str, WantedImage] = {}
    rejected: list[Rejection] = []
    elsewhere: list[Rejection] = []
    undecided = False
    for request in requests:
        try:
            reference = parse_image_reference(request.image, rules.default_registry)
        except InvalidImageReference as error:
            rejected.append(Rejection(request.image, request.wanted_by, error.reason))
            continue
        if not _is_allowed(reference, rules.allowed_registries):
            rejected.append(Rejection(request.image, request.wanted_by, f"{reference.name} is not in an allowed registry"))
            continue
        mismatch = _label_mismatch(request.node_selector, node_labels)
        if mismatch:
            undecided = undecided or node_labels is None
            elsewhere.append(Rejection(request.image, request.wanted_by, mismatch))
            continue
        name = str(reference)
        images[name] = _merged(images.get(name), reference, request, rules.policy)
    return WantedImages(images, tuple(rejected), tuple(elsewhere), undecided)


def _merged(known: WantedImage | None, reference: ImageReference, request: ImageRequest, policy: PullPolicy) -> WantedImage:
    policies = {request.policy or policy}
    names, written = {request.wanted_by}, {_written(request.image, reference)}
    if known is not None:
        policies.add(known.policy)
        names.update(known.wanted_by)
        written.update(known.written)
    chosen = PullPolicy.ALWAYS if PullPolicy.ALWAYS in policies else PullPolicy.IF_NOT_PRESENT
    return WantedImage(reference, chosen, tuple(sorted(names)), tuple(sorted(written)))


def _written(name: str, reference: ImageReference) -> str:
    """Return the name that means this image in a pod too, where nobody adds a default registry of ours."""
    return name if parse_image_reference(name) == reference else str(reference)


def _is_allowed(reference: ImageReference, allowed: tuple[str, ...]) -> bool:
    return not allowed or any(f"{reference.name}/".startswith(prefix.rstrip("/") + "/") for prefix in allowed)


def _label_mismatch(selector: tuple[tuple[str, str], ...], labels: Mapping[str, str] | None) -> str:
    if not selector:
        return ""
    if labels is None:
        return "it has a node selector, and this node's labels aren't known"
    missing = [f"{label}={value}" for label, value in selector if labels.get(label) != value]
    return f"this node doesn't have {', '.join(missing)}" if missing else ""
