"""Files that are pinned by their hashes, and had from whichever place has them."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["PinnedFile", "Unavailable", "fetch_all"]

_FETCHES_AT_ONCE = 8
_TRIES = 4
_SECONDS = 60
_NOT_FOUND = 404


class PinnedFile(NamedTuple):
    """One file."""

    sha256: str
    name: str
    """What it is called where it is laid."""
    addresses: tuple[str, ...]
    """Where it may be, the likeliest first."""


class Unavailable(Exception):
    """A file can't be had; the text says which and why."""


def fetch_all(files: Sequence[PinnedFile], folder: Path, cache: Path) -> None:
    """Lay files into a folder, each by its hash; those that were fetched before aren't again.

    Raises
    ------
    Unavailable
        One can't be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    missing = [file for file in files if not _is_whole(cache / file.sha256, file)]
    if missing:
        print(f"== fetching {len(missing)} files for {folder.name}, {missing[0].name} the first", flush=True)
    with concurrent.futures.ThreadPoolExecutor(_FETCHES_AT_ONCE) as pool:
        for done in [pool.submit(_fetch_one, file, cache) for file in missing]:
            done.result()
    for file in files:
        shutil.copy(cache / file.sha256, folder / file.name)


def _fetch_one(file: PinnedFile, cache: Path) -> None:
    causes = []
    for address in file.addresses:
        quoted = urllib.parse.quote(address, safe=":/")
        for number in range(_TRIES):
            try:
                with urllib.request.urlopen(quoted, timeout=_SECONDS) as answer:  # noqa: S310  only HTTP, and by hash
                    content = answer.read()
            except (OSError, ValueError) as error:
                causes.append(f"{quoted}: {error}")
                if isinstance(error, urllib.error.HTTPError) and error.code == _NOT_FOUND:
                    break
                time.sleep(number)
                continue
            if hashlib.sha256(content).hexdigest() != file.sha256:
                causes.append(f"{quoted}: it isn't the file of the lock")
                break
            partial = cache / f"{file.sha256}.{os.getpid()}"
            partial.write_bytes(content)
            partial.replace(cache / file.sha256)
            return
    raise Unavailable(f"{file.name} can't be had, or not any more; renew its lock.\n  " + "\n  ".join(causes))


def _is_whole(path: Path, file: PinnedFile) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
