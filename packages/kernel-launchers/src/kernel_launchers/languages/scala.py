"""The command of a Scala kernel: of this package, with Spark where it is there, or Apache Toree where the image names its jar."""

import os
import sys
from typing import List

from kernel_launchers.errors import NotInstalled
from kernel_launchers.languages import python
from kernel_launchers.options import Options
from kernel_launchers.waiting import exec_command

__all__ = ["command", "waiting_command"]

_KERNEL_CLASS = "kernel_launchers.scala.kernel.ScalaKernel"
_SPARK_KERNEL_CLASS = "kernel_launchers.spark.scala_kernel.SparkScalaKernel"


def command(options: Options, connection_file: str) -> List[str]:
    """Return the command of a kernel.

    Raises
    ------
    NotInstalled
        The image has no Java, or not what TOREE_JAR names.
    """
    import importlib.util
    import shutil

    java, toree = shutil.which("java"), os.environ.get("TOREE_JAR", "")
    if java is None:
        raise NotInstalled("the kernel is one of Scala, and its image has no Java")
    if not toree:
        kernel_class = _KERNEL_CLASS if importlib.util.find_spec("pyspark") is None else _SPARK_KERNEL_CLASS
        return python.command(options._replace(kernel_class=kernel_class), connection_file)
    if not os.path.isfile(toree):  # noqa: PTH113  a path of the pod, as it was given
        raise NotInstalled(f"TOREE_JAR names {toree}, which isn't there; without it the kernel is this package's own")
    return [java, "-cp", toree, "org.apache.toree.Main", "--profile", connection_file]


def waiting_command(options: Options, connection_file: str) -> List[str]:
    """Return the command of a kernel that waits for its claim; raises `NotInstalled`.

    A Java virtual machine can't be told another environment than it began with, so it begins with the claim.
    """
    then = command(options, connection_file)
    return [*then, python.WAITS] if then[0] == sys.executable else exec_command(then)
