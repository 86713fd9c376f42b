"""The files of this process' control group, in either version of control groups."""

from contextlib import suppress
from pathlib import Path
from typing import Dict, NamedTuple, Optional, Tuple

__all__ = ["MEMBERSHIP", "ROOT", "ControlGroup", "File", "number"]

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


class File(NamedTuple):
    """What one file is called in both versions."""

    unified: str
    separate: str


class ControlGroup:
    """Reads what one controller tells; what a system doesn't tell has no words.

    Parameters
    ----------
    controller
        Its name in version 1, where each has a folder of its own.
    proof
        A file that is there if anything is.
    """

    def __init__(self, controller: str, *, proof: File, root: Path = ROOT, membership: Path = MEMBERSHIP) -> None:
        paths = _paths(membership)
        self._version = 0
        self._folder: Optional[Path] = None
        for version, (base, path) in enumerate(((root, paths.get("", "")), (root / controller, paths.get(controller, "")))):
            # A container mostly sees its own group as the root, whatever name the node knows it by.
            for folder in (base / path, base):
                if self._folder is None and (folder / proof[version]).is_file():
                    self._version, self._folder = version, folder

    def words(self, file: File) -> Tuple[str, ...]:
        """Return what a file says, word by word."""
        if self._folder is None:
            return ()
        with suppress(OSError, UnicodeDecodeError):  # older kernels lack some of the files
            return tuple((self._folder / file[self._version]).read_text(encoding="ascii").split())
        return ()

    def value(self, file: File, *keys: str) -> Optional[int]:
        """Return the number beside the first of some keys that a file has, of those that hold a pair in each line."""
        words = self.words(file)
        pairs = dict(zip(words[::2], words[1::2]))
        return next((number(pairs[key]) for key in keys if key in pairs), None)


def _paths(membership: Path) -> Dict[str, str]:
    paths: Dict[str, str] = {}
    with suppress(OSError):  # a system without control groups
        for line in membership.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            paths.update(dict.fromkeys(controllers.split(","), path.lstrip("/")))
    return paths


def number(*words: str) -> Optional[int]:
    """Return the number that a file consists of; `None` where it is something else."""
    return int(words[0]) if len(words) == 1 and words[0].isascii() and words[0].isdigit() else None
