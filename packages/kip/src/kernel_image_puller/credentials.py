"""Registry credentials from files of the form that `docker login` and Kubernetes' image pull secrets have.

An entry applies to an image as the kubelet says: the host must match, part by part, where `*` stands for anything within
one part; a port must be the same; a path is a prefix. The most specific entry is tried first, then the others that
match, then anonymous access.
"""

import base64
import binascii
import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from enterprise_gateway_common.image_reference import ImageReference
from kernel_image_puller.logs import fields
from kernel_image_puller.runtimes.protocol import Credential

__all__ = ["CredentialStore"]

_LOGGER = logging.getLogger(__name__)
_FILE_NAMES = (".dockerconfigjson", ".dockercfg", "config.json")
_DOCKER_HUB_HOSTS = frozenset({"index.docker.io", "registry-1.docker.io", "docker.io"})
_DOCKER_HUB = "docker.io"
# A Secret can't be larger.
_LARGEST_FILE = 1024 * 1024


@dataclass(frozen=True)
class _Entry:
    host: str
    path: str
    credential: Credential

    def matches(self, reference: ImageReference) -> bool:
        host, _, port = self.host.partition(":")
        wanted_host, _, wanted_port = reference.registry.partition(":")
        parts, wanted_parts = host.split("."), wanted_host.split(".")
        return (
            port == wanted_port
            and len(parts) == len(wanted_parts)
            and all(fnmatchcase(wanted, part) for part, wanted in zip(parts, wanted_parts, strict=True))
            and (not self.path or f"{reference.repository}/".startswith(f"{self.path}/"))
        )

    @property
    def specificity(self) -> tuple[int, int, str]:
        """Longest first; a name without `*` before one with it; then by name, so that the order never changes."""
        return (-len(self.host) - len(self.path), self.host.count("*"), self.credential.source)


class CredentialStore:
    """The credentials of several files, read again when a file changes.

    Parameters
    ----------
    paths
        Files, or folders in which mounted Secrets lie, each as a folder or as a file. What doesn't exist may appear later.
    """

    def __init__(self, *, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._lock = threading.Lock()
        self._fingerprint: tuple[object, ...] | None = None
        self._entries: tuple[_Entry, ...] = ()
        self._unreadable: frozenset[Path] = frozenset()

    def candidates(self, reference: ImageReference) -> tuple[Credential, ...]:
        """Return the credentials that apply to an image, the most specific first."""
        with self._lock:
            self._read_if_changed()
            return tuple(entry.credential for entry in self._entries if entry.matches(reference))

    def read_again(self) -> None:
        """Read the files at the next question, changed or not."""
        with self._lock:
            self._fingerprint = None

    def _read_if_changed(self) -> None:
        unreadable: dict[Path, OSError] = {}
        files = [found for path in self._paths for found in _files(path, unreadable)]
        for path in unreadable.keys() - self._unreadable:
            _LOGGER.error("Registry credentials can't be looked for", extra=fields(path=path, error=unreadable[path].strerror))
        self._unreadable = frozenset(unreadable)
        fingerprint = tuple(_fingerprint(file) for file in files)
        if fingerprint == self._fingerprint:
            return
        self._fingerprint = fingerprint
        entries = [entry for file in files for entry in _read(file)]
        self._entries = tuple(sorted(entries, key=lambda entry: entry.specificity))
        _LOGGER.info("Read registry credentials", extra=fields(files=len(files), entries=len(entries)))


def _files(path: Path, unreadable: dict[Path, OSError]) -> list[Path]:
    """Return the files at a path or below it; what can't be looked at is left out and noted, and hides nothing else."""
    try:
        if path.is_file():
            return [path]
        if not path.is_dir():
            return []
        here = [path / name for name in _FILE_NAMES if (path / name).is_file()]
        # Kubernetes keeps the versions of a mounted Secret in folders that begin with two dots.
        folders = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith("..") and entry.is_dir()]
    except OSError as error:
        unreadable[path] = error
        return []
    return here + [file for folder in folders for file in _files(folder, unreadable)]


def _fingerprint(file: Path) -> tuple[object, ...]:
    try:
        found = file.stat()
    except OSError:  # removed since it was listed; the next question sees that
        return (file, None)
    return (file, found.st_ino, found.st_size, found.st_mtime_ns)


def _read(file: Path) -> list[_Entry]:
    """Return a file's entries; a file or an entry that can't be read is reported by its place and left out."""
    try:
        with file.open(encoding="utf-8") as stream:
            document = json.loads(stream.read(_LARGEST_FILE))
        servers = dict(document if file.name == ".dockercfg" else document.get("auths") or {})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        # The text of a JSON error shows where, never what.
        _LOGGER.error("Registry credentials can't be read", extra=fields(file=file, error=type(error).__name__))  # noqa: TRY400  a traceback could show the file's content
        return []
    found = []
    for server, value in servers.items():
        entry = _entry(server, value, f"{file.parent.name}/{file.name}")
        if entry is None:
            _LOGGER.error("A registry's entry can't be read", extra=fields(file=file, registry=server))
        else:
            found.append(entry)
    return found


def _entry(server: str, value: Any, place: str) -> _Entry | None:  # noqa: ANN401  it is any JSON
    if not isinstance(value, dict):
        return None
    username, password = value.get("username") or "", value.get("password") or ""
    identity_token = value.get("identitytoken") or ""
    if value.get("auth"):
        try:
            username, _, password = base64.b64decode(value["auth"], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError, TypeError, ValueError):
            return None
    if not all(isinstance(text, str) for text in (username, password, identity_token)) or not (username or identity_token):
        return None
    _, _, address = server.rpartition("://")
    host, _, path = address.rstrip("/").partition("/")
    if host.split(":")[0] in _DOCKER_HUB_HOSTS:
        host, path = _DOCKER_HUB, ""
    elif path in {"v1", "v2"}:
        path = ""
    return _Entry(host, path, Credential(f"{place} ({server})", username, password, identity_token))
