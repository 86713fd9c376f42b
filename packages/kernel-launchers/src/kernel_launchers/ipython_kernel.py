"""The process of an IPython kernel, which the supervisor starts."""

import importlib
import logging
import os
import sys
import tempfile
from contextlib import suppress
from typing import Any, Type

from kernel_launchers import pod_log
from kernel_launchers.errors import InvalidOptions, LaunchRefused, NotInstalled
from kernel_launchers.folders import prepare_temporary_folder
from kernel_launchers.signals import end_on_sigterm

__all__ = ["main"]


def main() -> int:
    """Return the exit status of the kernel whose connection file, class and Spark mode the command line names.

    One whose command line ends with `languages.python.WAITS` begins when its pod is claimed.
    """
    connection_file, kernel_class, spark_mode, *waits = sys.argv[1:]
    # IPython reads the command line too.
    del sys.argv[1:]
    try:
        if waits:
            from kernel_launchers.waiting import wait_for_claim

            _preload(kernel_class)
            wait_for_claim()
        return _run(connection_file, kernel_class, spark_mode)
    except LaunchRefused as refusal:
        # The supervisor tells it on: the kernel's last words are in the termination message.
        sys.stderr.write(f"launch-kernel: {refusal}\n")
        return refusal.status


# What an IPython kernel imports while it begins, beside what these import: most of the time that it takes.
_PRELOADED = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.debugger",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "sqlite3",
    "tornado.platform.asyncio",
    "tornado.queues",
    "encodings.idna",
    "encodings.latin_1",
)


def _preload(kernel_class: str) -> None:
    """Import what the kernel will need; nothing of it looks at whose kernel it is."""
    for module in (*_PRELOADED, kernel_class.rpartition(".")[0]):
        # Other versions have other modules, and what is missing is told when it is needed.
        with suppress(ImportError, ValueError):
            importlib.import_module(module)


def _run(connection_file: str, kernel_class: str, spark_mode: str) -> int:
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

    # Before the kernel takes what is written there for its cells' output.
    pod_log.keep()
    application = PodKernelApp.instance(kernel_class=_kernel_class(kernel_class))
    application.initialize(["-f", connection_file])  # type: ignore[no-untyped-call]  # ipykernel has no types here
    if spark_mode != "none":
        _prepare_spark(application, eager=spark_mode == "eager")
    # Not before: half of a kernel's sockets can't be closed. Until here SIGTERM ends the process at once, as it does by itself.
    end_on_sigterm(before=_end_the_loop)
    try:
        application.start()  # type: ignore[no-untyped-call]  # as above
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


def _prepare_spark(application: Any, *, eager: bool) -> None:  # noqa: ANN401  ipykernel's
    if application.shell is None:
        # Not IPython's: Scala in Spark's own JVM.
        application.kernel.begin_sessions(eager=eager)
        return
    from kernel_launchers.spark.java_log import JavaLog
    from kernel_launchers.spark.pyspark_session import make_session
    from kernel_launchers.spark.session import SparkSessions

    log = JavaLog(pod_log.descriptor())
    sessions = SparkSessions(application.shell.user_ns, make=lambda: make_session(log.start, log.cause))
    sessions.install(application.shell, log)
    if eager:
        sessions.begin_beside()


def _end_the_loop(status: int) -> None:
    """Have the kernel's event loop end next: a cell that runs when SIGTERM comes ends by it, and keeps `SystemExit` to itself."""
    import asyncio

    with suppress(RuntimeError):  # it has ended already
        asyncio.get_running_loop().call_soon_threadsafe(sys.exit, status)


def _kernel_class(dotted_name: str) -> Type[Any]:
    module, _, name = dotted_name.rpartition(".")
    try:
        found: Type[Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidOptions(f"--kernel-class-name: {dotted_name} can't be imported: {error}") from error
    return found


def _prepare_home() -> None:
    """Give IPython folders that it can write to: a pod may run as any user, on a read-only file system."""
    prepare_temporary_folder()
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
