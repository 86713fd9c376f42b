"""Removes images that this puller brought and that nobody wants any more. Off unless it is asked for.

An image is removed only if this puller brought every one of its names, none of them is wanted by any source, all of that
for as long as the administrator says, and no container uses it. What cannot be known counts against removing.
"""

import json
import logging
import threading
from collections.abc import Collection, Sequence
from pathlib import Path

from kernel_image_puller.clock import Clock
from kernel_image_puller.errors import PullFailed
from kernel_image_puller.logs import fields
from kernel_image_puller.runtimes.protocol import Runtime, StoredImage

__all__ = ["Cleaner"]

_LOGGER = logging.getLogger(__name__)


class Cleaner:
    """Knows what this puller brought, and removes it when its time has come.

    Parameters
    ----------
    runtime
        Has the images.
    after_seconds
        How long nobody must have wanted an image; 0 switches all of this off.
    state_file
        Where the names survive a restart; `None` forgets them, so that nothing of an earlier run is ever removed.
    clock
        Tells the time.
    """

    def __init__(self, *, runtime: Runtime, after_seconds: float, state_file: Path | None, clock: Clock) -> None:
        self._runtime = runtime
        self._after_seconds = after_seconds
        self._state_file = state_file if after_seconds else None
        self._clock = clock
        # Pullers note what they brought while a round cleans.
        self._lock = threading.Lock()
        self._brought: set[str] = self._load()
        self._unwanted_since: dict[str, float] = {}

    def brought(self, name: str) -> None:
        """Note that this puller has brought an image that wasn't there."""
        with self._lock:
            if self._after_seconds and name not in self._brought:
                self._brought.add(name)
                self._save()

    def clean(self, wanted: Collection[str], images: Sequence[StoredImage]) -> None:
        """Remove what may be removed now."""
        if not self._after_seconds:
            return
        now = self._clock.monotonic()
        with self._lock:
            brought = frozenset(self._brought)
        for name in brought:
            if name in wanted:
                self._unwanted_since.pop(name, None)
            else:
                self._unwanted_since.setdefault(name, now)
        due = {name for name, since in self._unwanted_since.items() if now - since >= self._after_seconds}
        present = {name for image in images for name in image.names}
        self._forget(due - present)
        candidates = [image for image in images if _may_go(image, due=due, wanted=frozenset(wanted))]
        if candidates:
            self._remove(candidates, due)

    def _remove(self, candidates: Sequence[StoredImage], due: set[str]) -> None:
        try:
            used = self._runtime.identities_in_use()
        except PullFailed as error:
            _LOGGER.warning("It can't be known which images are in use; nothing is removed", extra=fields(error=error))
            return
        for image in candidates:
            if used is None or image.identity in used or image.names & used:
                continue
            for name in sorted(image.names & due):
                try:
                    self._runtime.remove(image, name)
                except PullFailed as error:
                    _LOGGER.warning("Could not remove image", extra=fields(image=name, error=error))
                    continue
                _LOGGER.info("Removed image that nobody wants any more", extra=fields(image=name, bytes=image.size))
                self._forget({name})

    def _forget(self, names: set[str]) -> None:
        if not names:
            return
        for name in names:
            self._unwanted_since.pop(name, None)
        with self._lock:
            self._brought -= names
            self._save()

    def _load(self) -> set[str]:
        if self._state_file is None or not self._state_file.exists():
            return set()
        try:
            names = json.loads(self._state_file.read_text(encoding="utf-8"))
            return {name for name in names if isinstance(name, str)}
        except (OSError, ValueError, TypeError) as error:
            # Not to know what we brought is the safe side: then nothing is removed.
            _LOGGER.warning("The list of brought images can't be read", extra=fields(file=self._state_file, error=error))
            return set()

    def _save(self) -> None:
        if self._state_file is None:
            return
        temporary = self._state_file.with_name(self._state_file.name + ".new")
        try:
            temporary.write_text(json.dumps(sorted(self._brought)), encoding="utf-8")
            temporary.replace(self._state_file)
        except OSError as error:
            _LOGGER.warning("The list of brought images can't be written", extra=fields(file=self._state_file, error=error))


def _may_go(image: StoredImage, *, due: set[str], wanted: frozenset[str]) -> bool:
    """Tell whether nothing but its use speaks against removing an image: with one name the runtime takes all of them away."""
    return bool(image.names & due) and not image.pinned and not image.names & wanted and _tags(image) <= due


def _tags(image: StoredImage) -> set[str]:
    """Return the names that a person gave; a runtime adds the name by digest to each of them by itself."""
    tags = {name for name in image.names if "@" not in name}
    return tags or set(image.names)
