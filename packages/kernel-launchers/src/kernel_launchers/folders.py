"""Folders that can be written to, where a pod's root file system is read-only."""

import os
import tempfile

from kernel_launchers.errors import NotInstalled

__all__ = ["prepare_temporary_folder", "temporary_folder"]

_MEMORY = "/dev/shm"  # noqa: S108  every container has it, and it is this container's alone


def prepare_temporary_folder() -> None:
    """Have this process and its children put temporary files into memory where nothing else can be written."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        if os.access(_MEMORY, os.W_OK):
            os.environ["TMPDIR"] = tempfile.tempdir = _MEMORY


def temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    """Return a new folder of this process, which ends with it.

    Raises
    ------
    NotInstalled
        Nothing can be written anywhere.
    """
    prepare_temporary_folder()
    try:
        return tempfile.TemporaryDirectory(prefix="kernel-")
    except OSError as error:
        raise NotInstalled(
            f"there is no folder for temporary files that can be written to (TMPDIR names one): {error}"
        ) from error
