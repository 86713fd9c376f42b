"""Reads a list of images that a person wrote: in a file or in a ConfigMap."""

from typing import Any

import yaml

from kernel_image_puller.errors import SourceFailed
from kernel_image_puller.sources.protocol import SourceAnswer
from kernel_image_puller.wanted import ImageRequest, PullPolicy

__all__ = ["read_entries"]

_KEYS = frozenset({"image", "pull_policy", "node_selector"})


def read_entries(text: str, origin: str) -> SourceAnswer:
    """Return the images of a YAML list whose entries are names or mappings of image, pull_policy and node_selector.

    Raises
    ------
    SourceFailed
        It isn't a YAML list. An entry that can't be read is only reported.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SourceFailed(f"{origin} is not YAML: {' '.join(str(error).split())}") from error
    if document is None:
        return SourceAnswer(())
    if not isinstance(document, list):
        raise SourceFailed(f"{origin} is not a list of images")
    requests, problems = [], []
    for number, entry in enumerate(document, start=1):
        try:
            requests.append(_request({"image": entry} if isinstance(entry, str) else entry, origin))
        except ValueError as error:
            problems.append(f"{origin}, entry {number}: {error}")
    return SourceAnswer(tuple(requests), tuple(problems))


def _request(entry: Any, origin: str) -> ImageRequest:  # noqa: ANN401  it is any YAML
    if not isinstance(entry, dict):
        raise ValueError("it is neither a name nor a mapping")  # noqa: TRY004  reported as one kind of problem
    unknown = sorted(str(key) for key in entry if key not in _KEYS)
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not one of {', '.join(sorted(_KEYS))}")
    image, policy, selector = entry.get("image"), entry.get("pull_policy"), entry.get("node_selector") or {}
    if not isinstance(image, str) or not image.strip():
        raise ValueError("image is missing")
    if policy is not None and policy not in tuple(PullPolicy):
        raise ValueError(f"pull_policy is not one of {', '.join(PullPolicy)}")
    if not isinstance(selector, dict) or not all(isinstance(part, str) for pair in selector.items() for part in pair):
        raise ValueError("node_selector doesn't map labels to texts")
    return ImageRequest(image.strip(), origin, None if policy is None else PullPolicy(policy), tuple(sorted(selector.items())))
