"""The kernelspecs that this gateway offers, as they stand on the disk at most `max_age` seconds ago.

Reading kernel.json files at each request would put the disk (often NFS) into the event loop, and a watcher of file
events sees neither NFS nor the symlink swap by which Kubernetes updates a mounted ConfigMap. So the folders are read in
a thread, by whoever asks first after `max_age` seconds; whoever asks meanwhile shares that reading; and an idle gateway
reads nothing at all. Of a kernelspec that hasn't changed only the file's state is asked for.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from traitlets import TraitError

from enterprise_gateway.errors import KernelspecNotFound
from enterprise_gateway_common.kernelspec_metadata import proxy_ports

__all__ = ["Kernelspec", "KernelspecCatalogue"]

_log = logging.getLogger(__name__)

# File systems keep times in steps, FAT in steps of two seconds.
_YOUNG_SECONDS = 3.0


@dataclass(frozen=True)
class Kernelspec:
    """One kernelspec as it was read; never changed afterwards."""

    name: str
    resource_dir: Path
    spec: KernelSpec
    resources: tuple[str, ...]
    """Files that clients fetch beside the specification: kernel.js, kernel.css and logos."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the kernelspec says about itself beyond Jupyter's own fields."""
        metadata: Mapping[str, Any] = self.spec.metadata
        return metadata

    def model(self, base_url: str) -> dict[str, Any]:
        """Return the JSON object that Jupyter clients expect of a kernelspec."""
        name = quote(self.name, safe="")
        resources = {Path(file).stem if file.startswith("logo-") else file: file for file in self.resources}
        return {
            "name": self.name,
            "spec": self.spec.to_dict(),
            "resources": {key: f"{base_url}kernelspecs/{name}/{quote(file)}" for key, file in resources.items()},
        }


@dataclass(frozen=True)
class _Reading:
    kernelspecs: dict[str, Kernelspec] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    """Name of a folder to why its kernel.json can't be used."""
    not_offered: set[str] = field(default_factory=set)
    """Names that are there and that the administrator's list leaves out."""
    states: dict[str, "_State"] = field(default_factory=dict)
    """Name to what was read; only where a later change is sure to be seen by it."""


class _State(NamedTuple):
    """What changes when a kernelspec does."""

    folder: str
    files: tuple[tuple[int, ...], ...]


class KernelspecCatalogue:
    """Answers which kernelspecs exist; a broken one never hides the others.

    Parameters
    ----------
    manager
        jupyter_client's manager, which knows where kernelspecs lie.
    allowed
        Names to offer; empty for all.
    max_age
        Seconds for which a reading is used.
    clock
        Seconds that only go forward.
    """

    def __init__(
        self,
        *,
        manager: KernelSpecManager,
        allowed: frozenset[str],
        max_age: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._manager = manager
        # Jupyter lower-cases the names of kernelspecs that it finds in folders.
        self._allowed = frozenset(name.lower() for name in allowed)
        self._max_age = max_age
        self._clock = clock
        self._reading = _Reading()
        self._read_at: float | None = None
        self._under_way: asyncio.Task[_Reading] | None = None

    @property
    def problems(self) -> Mapping[str, str]:
        """Why kernelspecs of the last reading can't be used, by name."""
        return self._reading.problems

    async def all(self) -> Mapping[str, Kernelspec]:
        """Return every kernelspec by name, sorted."""
        if self._read_at is None or self._clock() - self._read_at >= self._max_age:
            if self._under_way is None:
                self._under_way = asyncio.create_task(self._read())
            # Shielded: the task belongs to all who wait for it, so one client that goes away must not cancel it.
            await asyncio.shield(self._under_way)
        return self._reading.kernelspecs

    async def get(
        self, name: str, *, visible: Callable[[Mapping[str, Kernelspec]], Mapping[str, Kernelspec]] | None = None
    ) -> Kernelspec:
        """Return one kernelspec, its name compared without case.

        Parameters
        ----------
        visible
            Chooses those that the asking user may know of; without it all are named.

        Raises
        ------
        KernelspecNotFound
            There is none; the text names those that exist.
        """
        kernelspecs = await self.all()
        if (found := kernelspecs.get(name.lower())) is None:
            known = ", ".join(visible(kernelspecs) if visible else kernelspecs) or "none"
            shown = name[:128].encode("unicode_escape").decode()
            raise KernelspecNotFound(f"No such kernel named '{shown}'. Kernels that exist here: {known}.")
        return found

    async def _read(self) -> _Reading:
        try:
            reading = await asyncio.to_thread(self._read_folders)
            self._report(reading)
            self._reading, self._read_at = reading, self._clock()
        finally:
            self._under_way = None
        return reading

    def _report(self, reading: _Reading) -> None:
        for name, problem in reading.problems.items():
            if self._reading.problems.get(name) != problem:
                _log.warning("Kernelspec can't be used", extra={"kernelspec": name, "cause": problem})
        if reading.not_offered != self._reading.not_offered:
            advice = "EG_ALLOWED_KERNELS (the chart's kernel.allowedKernels) names those to offer"
            _log.info("Kernelspecs not offered", extra={"kernelspecs": sorted(reading.not_offered), "advice": advice})
        now, before = reading.kernelspecs, self._reading.kernelspecs
        changed = {
            name
            for name in {*now, *before}
            if now.get(name) is not before.get(name) and _text(now.get(name)) != _text(before.get(name))
        }
        if changed:
            _log.info("Kernelspecs read", extra={"changed": sorted(changed), "count": len(reading.kernelspecs)})

    def _read_folders(self) -> _Reading:
        reading, before = _Reading(), self._reading
        for name, folder in sorted(self._manager.find_kernel_specs().items()):
            if self._allowed and name not in self._allowed:
                reading.not_offered.add(name)
                continue
            try:
                # Before the reading: a change in the middle of it is seen the next time.
                state = _state(folder)
                if state is not None:
                    reading.states[name] = state
                    if state == before.states.get(name) and name in before.kernelspecs:
                        reading.kernelspecs[name] = before.kernelspecs[name]
                        continue
                reading.kernelspecs[name] = _read_kernelspec(name, Path(folder))
            except (OSError, ValueError, TypeError, TraitError) as error:
                reading.problems[name] = _why(error)
        return reading


def _state(folder: str) -> _State | None:
    """Return what changes with a kernelspec; `None` where it changed so lately that the next change may look the same."""
    found = [os.stat(path) for path in (folder, os.path.join(folder, "kernel.json"))]  # noqa: PTH116, PTH118  a third of the time of Path's
    newest = max(max(each.st_mtime, each.st_ctime) for each in found)
    if abs(time.time() - newest) < _YOUNG_SECONDS:
        return None
    return _State(folder, tuple((each.st_dev, each.st_ino, each.st_size, each.st_mtime_ns, each.st_ctime_ns) for each in found))


def _read_kernelspec(name: str, folder: Path) -> Kernelspec:
    document = json.loads((folder / "kernel.json").read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise TypeError("kernel.json is not an object")
    environment = document.get("env", {})
    if not isinstance(environment, dict) or not all(isinstance(text, str) for text in environment.values()):
        raise ValueError("env is no object of texts")
    # traitlets would take a text for a list of its letters.
    if not isinstance(document.get("argv"), list) or not document["argv"]:
        raise ValueError("argv is no list with at least one text")
    # Keys that Jupyter doesn't know are left out: people keep notes of their own in a kernel.json.
    known = {key: value for key, value in document.items() if key in KernelSpec.class_trait_names() and key != "resource_dir"}
    spec = KernelSpec(resource_dir=str(folder), **{"display_name": name, **known})
    # Reads the stanza too, and fails where either can't be read.
    proxy_ports(spec.metadata)
    files = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    wanted = tuple(file for file in files if file in {"kernel.js", "kernel.css"} or file.startswith("logo-"))
    return Kernelspec(name, folder, spec, wanted)


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"kernel.json is not JSON: {error.msg} in line {error.lineno}, column {error.colno}"
    if isinstance(error, OSError):
        return f"kernel.json can't be read: {error.strerror}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _text(kernelspec: Kernelspec | None) -> str:
    return json.dumps(kernelspec.model("/"), sort_keys=True) if kernelspec else ""
