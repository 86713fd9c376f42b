"""What a source of image names is."""

from dataclasses import dataclass
from typing import Protocol

from kernel_image_puller.wanted import ImageRequest

__all__ = ["Source", "SourceAnswer"]


@dataclass(frozen=True)
class SourceAnswer:
    """Everything that a source names."""

    requests: tuple[ImageRequest, ...]
    problems: tuple[str, ...] = ()
    """Parts of it that could not be read, one line each; the rest counts all the same."""


class Source(Protocol):
    """Where names of images come from."""

    name: str

    def fetch(self) -> SourceAnswer:
        """Return what the source names now.

        Raises
        ------
        SourceFailed
            It didn't answer, or its answer as a whole can't be read.
        """
