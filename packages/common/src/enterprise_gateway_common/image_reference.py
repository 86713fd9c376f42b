"""The one place that knows how the name of a container image is read.

The grammar and the completion of short names are those of `distribution/reference`, which Docker, containerd and the
kubelet use, so that a name means here exactly the image that a pod with that name would run:

- what stands before the first `/` is a registry only if it has a `.`, a `:` or an upper-case letter, or is `localhost`;
- without a registry the image is on `docker.io`, and there a name of one part is below `library/`;
- without tag and digest the tag is `latest`; where both are given the digest decides and the tag is dropped.
"""

import re
from dataclasses import dataclass
from typing import Optional, Tuple

__all__ = ["DEFAULT_REGISTRY", "ImageReference", "InvalidImageReference", "parse_image_reference"]

DEFAULT_REGISTRY = "docker.io"
_LEGACY_DEFAULT_REGISTRY = "index.docker.io"
_OFFICIAL_FOLDER = "library"
_MAXIMUM_NAME_LENGTH = 255
_MAXIMUM_SHOWN_LENGTH = 80

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_REPOSITORY_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_REPOSITORY_PART}(?:/{_REPOSITORY_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGESTS = {
    "sha256": re.compile(r"[a-f0-9]{64}"),
    "sha384": re.compile(r"[a-f0-9]{96}"),
    "sha512": re.compile(r"[a-f0-9]{128}"),
}
_IMAGE_ID = re.compile(r"[a-f0-9]{64}")


class InvalidImageReference(ValueError):
    """A text that no container runtime takes as the name of an image; the message says where it goes wrong."""

    def __init__(self, text: str, reason: str) -> None:
        shown = text if len(text) <= _MAXIMUM_SHOWN_LENGTH else text[:_MAXIMUM_SHOWN_LENGTH] + "…"
        super().__init__(f"{shown!r} is not an image reference: {reason}")
        self.text = text
        self.reason = reason


@dataclass(frozen=True)
class ImageReference:
    """A complete image name: two names that mean the same image are equal.

    Exactly one of `tag` and `digest` is set.
    """

    registry: str
    repository: str
    tag: Optional[str]
    digest: Optional[str]

    @property
    def name(self) -> str:
        """Registry and repository, without tag or digest."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        if self.digest is not None:
            return f"{self.name}@{self.digest}"
        return f"{self.name}:{self.tag}"


def parse_image_reference(text: str, default_registry: str = "") -> ImageReference:
    """Return the complete form of an image name.

    Parameters
    ----------
    text
        The name as somebody wrote it. Blanks around it are not forgiven: a runtime doesn't forgive them either.
    default_registry
        Where a name without a registry is looked for instead of on `docker.io`; it may end in a path
        (`registry.example.org/mirror`).

    Raises
    ------
    InvalidImageReference
        No runtime would take this name.
    """
    if not text:
        raise InvalidImageReference(text, "it is empty")
    if _IMAGE_ID.fullmatch(text):
        raise InvalidImageReference(text, "64 hexadecimal digits are the id of an image, not its name")
    rest, digest = _split_digest(text)
    rest, tag = _split_tag(text, rest)
    registry, repository = _split_registry(rest)
    if registry is None and default_registry.strip("/"):
        registry, repository = _split_registry("{}/{}".format(default_registry.strip("/"), repository), forced=True)
    registry, repository = _complete(registry, repository)
    _check_name(text, registry, repository)
    if digest is None and tag is None:
        tag = "latest"
    return ImageReference(registry, repository, None if digest is not None else tag, digest)


def _split_digest(text: str) -> Tuple[str, Optional[str]]:
    rest, at, digest = text.partition("@")
    if not at:
        return rest, None
    algorithm, _, encoded = digest.partition(":")
    pattern = _DIGESTS.get(algorithm)
    if pattern is None:
        raise InvalidImageReference(text, "after @ there must be sha256:, sha384: or sha512:")
    if not pattern.fullmatch(encoded):
        raise InvalidImageReference(text, f"the digest doesn't have the length or the digits of {algorithm}")
    return rest, digest


def _split_tag(text: str, rest: str) -> Tuple[str, Optional[str]]:
    # A colon before the last slash belongs to the registry's port.
    colon = rest.rfind(":")
    if colon <= rest.rfind("/"):
        return rest, None
    tag = rest[colon + 1 :]
    if not _TAG.fullmatch(tag):
        raise InvalidImageReference(text, "the tag may have 1 to 128 letters, digits, '_', '.' and '-'")
    return rest[:colon], tag


def _split_registry(name: str, forced: bool = False) -> Tuple[Optional[str], str]:  # noqa: FBT001, FBT002  internal, read at one place
    first, slash, repository = name.partition("/")
    is_registry = "." in first or ":" in first or first == "localhost" or first.lower() != first
    return (first, repository) if slash and (is_registry or forced) else (None, name)


def _complete(registry: Optional[str], repository: str) -> Tuple[str, str]:
    if registry is None or registry == _LEGACY_DEFAULT_REGISTRY:
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = f"{_OFFICIAL_FOLDER}/{repository}"
    return registry, repository


def _check_name(text: str, registry: str, repository: str) -> None:
    if not _REGISTRY.fullmatch(registry):
        raise InvalidImageReference(text, f"{registry!r} is not a registry's host and port")
    if not _REPOSITORY.fullmatch(repository):
        hint = "repository names are in lower case" if repository.lower() != repository else "it has characters a name can't have"
        raise InvalidImageReference(text, hint)
    if len(registry) + 1 + len(repository) > _MAXIMUM_NAME_LENGTH:
        raise InvalidImageReference(text, f"the name is longer than {_MAXIMUM_NAME_LENGTH} characters")
