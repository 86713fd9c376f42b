"""Images from the settings, or from a file that somebody mounts."""

from collections.abc import Sequence
from pathlib import Path

from kernel_image_puller.errors import SourceFailed
from kernel_image_puller.sources.protocol import SourceAnswer
from kernel_image_puller.wanted import ImageRequest

__all__ = ["FileSource", "StaticSource"]

_LARGEST_FILE = 1024 * 1024


class StaticSource:
    """A list that never changes."""

    name = "static list"

    def __init__(self, *, images: Sequence[str]) -> None:
        self._answer = SourceAnswer(tuple(ImageRequest(image, self.name) for image in images))

    def fetch(self) -> SourceAnswer:
        """Return the list."""
        return self._answer


class FileSource:
    """A YAML list in a file, read anew every time."""

    def __init__(self, *, path: Path) -> None:
        self.name = f"file {path}"
        self._path = path

    def fetch(self) -> SourceAnswer:
        """Return the images of the list."""
        # The YAML library is paid for only by those whose lists are YAML.
        from kernel_image_puller.sources.entries import read_entries

        try:
            with self._path.open(encoding="utf-8") as stream:
                text = stream.read(_LARGEST_FILE)
        except (OSError, UnicodeDecodeError) as error:
            raise SourceFailed(f"{self.name} can't be read: {error}") from error
        return read_entries(text, self.name)
