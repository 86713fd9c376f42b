"""What the container's control group tells of its memory, in either version of control groups."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Optional, Tuple

__all__ = ["ContainerMemory"]

_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
# Version 1 has no word for "no limit", but a number that no machine reaches.
_NO_LIMIT = 1 << 60


class _Version(NamedTuple):
    controllers: str
    folder: str
    kills: str
    limit: str
    peak: str


_VERSIONS = (
    _Version("", "", "memory.events", "memory.max", "memory.peak"),
    _Version("memory", "memory", "memory.oom_control", "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
)


class ContainerMemory:
    """Reads the files of this process' control group; what a system doesn't tell is `None`."""

    def __init__(self, *, root: Path = _ROOT, membership: Path = _MEMBERSHIP) -> None:
        self._version, self._folder = _find(root, membership)

    def kills(self) -> Optional[int]:
        """Return how many processes of the container were killed because memory ran out."""
        words = self._words("kills")
        pairs = dict(zip(words[::2], words[1::2]))
        return _number(pairs.get("oom_kill", ""))

    def limit(self) -> Optional[int]:
        """Return how many bytes the container may use; `None` also where it may use all that the node has."""
        limit = _number(*self._words("limit"))
        return None if limit is None or limit >= _NO_LIMIT else limit

    def peak(self) -> Optional[int]:
        """Return how many bytes the container used at most since it began."""
        return _number(*self._words("peak"))

    def _words(self, name: str) -> Tuple[str, ...]:
        if self._folder is None:
            return ()
        with suppress(OSError, UnicodeDecodeError):  # older kernels lack some of the files
            return tuple((self._folder / getattr(self._version, name)).read_text(encoding="ascii").split())
        return ()


def _find(root: Path, membership: Path) -> Tuple[_Version, Optional[Path]]:
    paths = {}
    with suppress(OSError):  # a system without control groups
        for line in membership.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            paths.update(dict.fromkeys(controllers.split(","), path.lstrip("/")))
    for version in _VERSIONS:
        base = root / version.folder
        # A container mostly sees its own group as the root, whatever name the node knows it by.
        for folder in (base / paths.get(version.controllers, ""), base):
            if (folder / version.kills).is_file():
                return version, folder
    return _VERSIONS[0], None


def _number(*words: str) -> Optional[int]:
    return int(words[0]) if len(words) == 1 and words[0].isascii() and words[0].isdigit() else None
