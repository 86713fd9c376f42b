"""Starts an IPython kernel in this process."""

import importlib
import logging
import os
import tempfile
from typing import Any, Type

from kernel_launchers.errors import InvalidOptions, NotInstalled
from kernel_launchers.options import Options
from kernel_launchers.signals import end_on_sigterm

__all__ = ["start"]


def start(options: Options, connection_file: str) -> int:
    """Return the exit status of the kernel."""
    # Before anything that takes time: a pod may be told to end while its kernel is still starting.
    end_on_sigterm()
    _prepare_home()
    try:
        from ipykernel.kernelapp import IPKernelApp
    except ImportError as error:
        raise NotInstalled(f"the image has no IPython kernel: {error}") from error

    class PodKernelApp(IPKernelApp):
        """Leaves the connection file alone: it is mounted, and its ports are those that the gateway connects to."""

        def write_connection_file(self, **_options: Any) -> None:  # noqa: ANN401  the base class' signature
            """Write nothing."""

        def cleanup_connection_file(self) -> None:
            """Remove nothing."""

        def log_connection_info(self) -> None:
            """Store the ports and print nothing: the last lines of a pod's log are what a user reads when it dies."""
            level, self.log_level = self.log_level, logging.CRITICAL
            super().log_connection_info()  # type: ignore[no-untyped-call]  # ipykernel has no types here
            self.log_level = level

    application = PodKernelApp.instance(kernel_class=_kernel_class(options.kernel_class))
    application.initialize(["-f", connection_file])  # type: ignore[no-untyped-call]  # ipykernel has no types here
    try:
        application.start()  # type: ignore[no-untyped-call]  # as above
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


def _kernel_class(dotted_name: str) -> Type[Any]:
    module, _, name = dotted_name.rpartition(".")
    try:
        found: Type[Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidOptions(f"--kernel-class-name: {dotted_name} can't be imported: {error}") from error
    return found


_MEMORY = "/dev/shm"  # noqa: S108  every container has it, and it is this container's alone


def _prepare_home() -> None:
    """Give IPython folders that it can write to: a pod may run as any user, on a read-only file system."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        if os.access(_MEMORY, os.W_OK):
            os.environ["TMPDIR"] = tempfile.tempdir = _MEMORY
    home = os.environ.get("HOME", "")
    if home and home != "/" and os.access(home, os.W_OK):
        return
    try:
        folder = tempfile.mkdtemp(prefix="kernel-home-")
    except OSError:
        # Nothing can be written anywhere; what needs a folder says so in its own words.
        return
    os.environ["HOME"] = folder
    os.environ.setdefault("IPYTHONDIR", os.path.join(folder, ".ipython"))  # noqa: PTH118  the environment takes texts
