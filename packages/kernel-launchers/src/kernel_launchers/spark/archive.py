"""Writes down the classes of a Spark session, so that every later one of this image begins with them: `python -m … .archive`.

Executors begin with them too: what runs tasks is in a session of one machine as well.
"""

import importlib
import os
from contextlib import suppress

from kernel_launchers.spark import driver_jvm
from kernel_launchers.spark.pyspark_session import connected
from kernel_launchers.spark.submit import Submission

__all__ = ["main"]

# Nobody answers there: what asks Kubernetes loads its classes and gives up.
_NOBODY = "k8s://http://127.0.0.1:9"
_IN_THE_CLUSTER = {
    "spark.kubernetes.container.image": "none",
    "spark.kubernetes.driver.pod.name": "none",
    "spark.executor.instances": "1",
    "spark.scheduler.minRegisteredResourcesRatio": "0",
}


def main() -> None:
    """Run a session of each kind and keep their classes."""
    kept = driver_jvm.archive()
    settings = {"spark.master": "local[2]", "spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}
    jvm = driver_jvm.start(Submission(settings, []), keep_classes=True)
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    java_gateway, pyspark = importlib.import_module("pyspark.java_gateway"), importlib.import_module("pyspark")
    session_class = importlib.import_module("pyspark.sql").SparkSession
    gateway = connected(java_gateway, jvm)
    session = session_class(pyspark.SparkContext(gateway=gateway))
    session.range(10).selectExpr("sum(id)").first()
    session.stop()
    configuration = pyspark.SparkConf().setAll([*_IN_THE_CLUSTER.items()]).setMaster(_NOBODY).setAppName("none")
    with suppress(Exception):  # as it has to
        pyspark.SparkContext(conf=configuration, gateway=gateway)
    if jvm.process.stdin is not None:
        jvm.process.stdin.close()
    jvm.process.wait()
    if not kept.is_file():
        raise SystemExit(f"{kept} wasn't written")


if __name__ == "__main__":
    main()
