"""What the puller needs of a container runtime, and nothing more."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from enterprise_gateway_common.image_reference import ImageReference, InvalidImageReference, parse_image_reference
from kernel_image_puller.cancellation import Cancellation
from kernel_image_puller.wanted import PullPolicy

__all__ = ["Credential", "Progress", "PullOrder", "Runtime", "StoredImage", "complete_names"]


@dataclass(frozen=True)
class Credential:
    """A login for a registry. What it prints as never holds the secret."""

    source: str
    """Where it was found, for people: the Secret's or the file's name and the registry's entry in it."""
    username: str = field(repr=False)
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)


@dataclass(frozen=True)
class StoredImage:
    """One image in the runtime's store, with all its complete names."""

    identity: str
    names: frozenset[str]
    size: int
    pinned: bool = False


class Progress:
    """How far one pull is, where the runtime tells; written by the pulling thread, read by others."""

    def __init__(self) -> None:
        self.done_bytes = 0
        self.total_bytes = 0


@dataclass(frozen=True, kw_only=True)
class PullOrder:
    """One try to pull one image."""

    reference: ImageReference
    policy: PullPolicy
    credential: Credential | None
    timeout: float
    """Seconds until the try must be over."""
    written: tuple[str, ...] = ()
    """The ways in which the name is written, for a runtime that tells them apart; none means the complete name."""
    cancellation: Cancellation = field(default_factory=Cancellation)
    progress: Progress = field(default_factory=Progress)


class Runtime(Protocol):
    """A container runtime. Every method may raise `RuntimeAway`."""

    name: str
    """What it is called in `/status` and in logs."""
    uses_credentials: bool
    """Whether credentials are handed over with a pull; a kubelet finds its own."""

    def describe(self) -> str:
        """Return the runtime's own name and version, and how it is reached."""

    def images(self) -> Sequence[StoredImage]:
        """Return every image of the node, in one call to the runtime."""

    def pull(self, order: PullOrder) -> int:
        """Return the image's size in bytes once it is on the node and can be used; 0 where the runtime doesn't tell.

        Raises
        ------
        PullFailed
            Of the class that fits; `PullCancelled` at once when the order's cancellation is called.
        """

    def identities_in_use(self) -> frozenset[str] | None:
        """Return the identities of images that a container uses, running or not; `None` where that can't be known."""

    def remove(self, image: StoredImage, name: str) -> None:
        """Remove one name of an image; the runtime may remove the image with all its names."""

    def image_filesystem(self) -> Path | None:
        """Return where the images are stored, if the runtime tells; it need not exist here."""

    def close(self) -> None:
        """Let go of every connection."""


def complete_names(names: Sequence[str]) -> frozenset[str]:
    """Return the complete forms of the names that a runtime lists; what isn't a name (`<none>:<none>`) is left out."""
    found = set()
    for name in names:
        try:
            found.add(str(parse_image_reference(name)))
        except InvalidImageReference:
            continue
    return frozenset(found)
