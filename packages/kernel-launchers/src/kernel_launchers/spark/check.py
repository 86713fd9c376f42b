"""Whether a start asks for a Spark session that this launcher can make."""

import importlib.util
import os

from kernel_launchers.errors import InvalidOptions, NotInstalled
from kernel_launchers.options import Options

__all__ = ["check"]


def check(options: Options) -> None:
    """Return when the start asks for no Spark, or for what there is.

    Raises
    ------
    NotInstalled
        It asks for a Spark session, and the image has no Spark.
    InvalidOptions
        It asks for a session that this launcher doesn't make.
    """
    if options.spark_mode == "none":
        return
    if options.cluster_type != "spark":
        raise InvalidOptions(f"this launcher makes no session on a cluster of type {options.cluster_type}; use the mode none")
    if options.language == "scala" and os.environ.get("TOREE_JAR"):
        raise InvalidOptions("Apache Toree (TOREE_JAR) makes Spark sessions by itself; use the mode none, or leave TOREE_JAR out")
    if importlib.util.find_spec("pyspark") is None and not (options.language == "r" and os.environ.get("SPARK_HOME")):
        raise NotInstalled(
            f"the kernel asks for a Spark session (--spark-context-initialization-mode {options.spark_mode}), and pyspark isn't "
            "installed in its image; use an image that has it, or the mode none"
        )
    if options.command or options.kernelspec:
        raise InvalidOptions(
            "this launcher makes Spark sessions for its own kernels of Python, R and Scala only; use the mode none"
        )
