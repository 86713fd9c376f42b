"""The command of a Scala kernel (Apache Toree)."""

import os
from typing import List

from kernel_launchers.errors import NotInstalled
from kernel_launchers.options import Options

__all__ = ["command"]


def command(_options: Options, connection_file: str) -> List[str]:
    """Return the command of a kernel.

    Raises
    ------
    NotInstalled
        The image has no Java or no Toree.
    """
    import shutil

    java, toree = shutil.which("java"), os.environ.get("TOREE_JAR", "")
    if java is None or not os.path.isfile(toree):  # noqa: PTH113  a path of the pod, as it was given
        raise NotInstalled("the kernel is one of Scala, and its image has no Java or no Toree (TOREE_JAR names its jar)")
    return [java, "-cp", toree, "org.apache.toree.Main", "--profile", connection_file]
