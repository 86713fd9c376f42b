"""Starts a Scala kernel (Apache Toree) as a child process."""

import os
import shutil

from kernel_launchers.errors import NotInstalled
from kernel_launchers.options import Options
from kernel_launchers.signals import run_child

__all__ = ["start"]


def start(_options: Options, connection_file: str) -> int:
    """Return the exit status of the kernel."""
    java, toree = shutil.which("java"), os.environ.get("TOREE_JAR", "")
    if java is None or not os.path.isfile(toree):  # noqa: PTH113  a path of the pod, as it was given
        raise NotInstalled("the kernel is one of Scala, and its image has no Java or no Toree (TOREE_JAR names its jar)")
    return run_child([java, "-cp", toree, "org.apache.toree.Main", "--profile", connection_file, "--alternate-sigint", "USR2"])
