"""Writes down the classes of a Spark session, so that every later one of this image begins with them: `python -m … .archive`.

The session is one in a cluster, which is pretended, and with an executor of this very image, whose classes are among them.
"""

import importlib
import json
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Iterator

from kernel_launchers.scala.own_jvm import java
from kernel_launchers.scala.prelude import compile_into
from kernel_launchers.spark import driver_jvm
from kernel_launchers.spark.pretended_cluster import PretendedCluster
from kernel_launchers.spark.pyspark_session import connected
from kernel_launchers.spark.submit import Driver, Submission, executor_template, submission

__all__ = ["main"]

_DRIVER, _HERE = "driver", "127.0.0.1"
_END_SECONDS = 30.0
# Not those that a JVM makes while it runs.
_LOADED = re.compile(r"\] ([\w.$]+) source: (?:file:|jrt:|shared objects)")


def main() -> None:
    """Run a session and keep its classes."""
    kept = driver_jvm.archive()
    jars = driver_jvm.jars()
    compile_into(str(Path(jars[0]).parent), java(), jars)
    with PretendedCluster(_DRIVER) as cluster, tempfile.TemporaryDirectory() as folder:
        jvm = driver_jvm.start(_told(cluster, folder), keep_classes=True)
        java_gateway, pyspark = importlib.import_module("pyspark.java_gateway"), importlib.import_module("pyspark")
        gateway = connected(java_gateway, jvm)
        session = importlib.import_module("pyspark.sql").SparkSession(pyspark.SparkContext(gateway=gateway))
        session.range(10).selectExpr("sum(id)").first()
        session.stop()
        cluster.wait_for_executors(_END_SECONDS)
        for name in _executors_classes(folder):
            _load(gateway.jvm, name)
        if jvm.process.stdin is not None:
            jvm.process.stdin.close()
        jvm.process.wait()
    if not kept.is_file():
        raise SystemExit(f"{kept} wasn't written")


def _told(cluster: PretendedCluster, folder: str) -> Submission:
    template = Path(folder, "executor-pod.json")
    template.write_text(json.dumps(executor_template(user=os.getuid(), group=os.getgid())), encoding="utf-8")
    pod = Driver(pod=_DRIVER, namespace="default", address=_HERE, image="none", kernel_id="none", template=str(template))
    more = {
        "spark.executor.instances": "1",
        "spark.executor.extraJavaOptions": f"-Xlog:class+load:file={folder}/%p.log",
        "spark.kubernetes.authenticate.caCertFile": cluster.authority,
        "spark.kubernetes.authenticate.oauthToken": "none",
    }
    told = submission(pod, {**os.environ, **cluster.environment})
    return told._replace(settings={**told.settings, **more})


def _executors_classes(folder: str) -> Iterator[str]:
    for log in Path(folder).glob("*.log"):
        for line in log.read_text(encoding="utf-8").splitlines():
            loaded = _LOADED.search(line)
            if loaded:
                yield loaded[1]


def _load(classes: Any, name: str) -> None:  # noqa: ANN401  whatever Java has
    with suppress(Exception):  # some can't be without the rest of an executor
        classes.java.lang.Class.forName(name, False, classes.java.lang.ClassLoader.getSystemClassLoader())


if __name__ == "__main__":
    main()
