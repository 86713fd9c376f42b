"""A Spark job by plain `spark-submit` in client mode in a pod, and the same by a kernel: until its result, and the job alone.

Both are of the kernel's image, with executors of the same sizes, in turns. The nodes must find the image, and have it: the first
of each isn't counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kubernetes import client
from tests.bench.gateway_common import Table, median
from tests.bench.pods_common import Cluster
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.spark import executors, spark_gateway, spark_installation
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.support.installation import Installation
    from tests.support.servers import Server

_NAME = "spark_python_kubernetes"
_SECONDS = 300
_TARGET = 1.05
_EXECUTORS = 2
# Some twenty seconds on two cores.
_JOB = "spark.range(0, 200_000_000, 1, 8).selectExpr('sum(sin(id) * sqrt(id))').first()"
_TOLD = f"import json, time; began = time.time(); {_JOB}; print(json.dumps([began, time.time()]), flush=True)"
_PROGRAM = f"from pyspark.sql import SparkSession; spark = SparkSession.builder.getOrCreate(); {_TOLD}; spark.stop()"
_SUBMIT = """
printf '%s' "$PROGRAM" > /tmp/job.py
exec "$SPARK_HOME"/bin/spark-submit --master k8s://https://kubernetes.default.svc --deploy-mode client \\
  --conf spark.kubernetes.namespace="$NAMESPACE" --conf spark.kubernetes.driver.pod.name="$POD" \\
  --conf spark.driver.host="$ADDRESS" --conf spark.driver.bindAddress="$ADDRESS" \\
  --conf spark.kubernetes.container.image="$IMAGE" --conf spark.executor.instances="$EXECUTORS" \\
  --conf spark.executor.cores=1 --conf spark.executor.memory=1g /tmp/job.py
"""


class _Run(NamedTuple):
    """Seconds of one run, from the request that makes the pod."""

    result: float
    job: float


def _of(made: float, said: str) -> _Run:
    began, ended = json.loads(next(line for line in said.splitlines() if line.startswith("[")))
    return _Run(ended - made, ended - began)


def _submitted(cluster: Cluster, image: str) -> _Run:
    fields = {"NAMESPACE": "metadata.namespace", "POD": "metadata.name", "ADDRESS": "status.podIP"}
    variables = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]
    variables += [{"name": name, "value": value} for name, value in (("PROGRAM", _PROGRAM), ("IMAGE", image))]
    variables += [{"name": "EXECUTORS", "value": str(_EXECUTORS)}]
    container = {"name": "submit", "image": image, "command": ["sh", "-c", _SUBMIT], "env": variables}
    pod = {"metadata": {"name": "submit"}, "spec": {"restartPolicy": "Never", "containers": [container]}}
    made = time.time()
    cluster.core.create_namespaced_pod(cluster.namespace, pod)

    def phase() -> str:
        return str(cluster.core.read_namespaced_pod("submit", cluster.namespace).status.phase)

    wait_until(lambda: phase() in {"Succeeded", "Failed"}, timeout=_SECONDS)
    said = cluster.core.read_namespaced_pod_log("submit", cluster.namespace)
    if phase() != "Succeeded":
        raise SystemExit(f"spark-submit failed:\n{said[-4000:]}")
    cluster.core.delete_namespaced_pod("submit", cluster.namespace, grace_period_seconds=0)
    wait_until(lambda: not cluster.core.list_namespaced_pod(cluster.namespace).items, timeout=60)
    return _of(made, said)


def _ours(installation: Installation, server: Server) -> _Run:
    made = time.time()
    kernel_id = server.start_kernel(_NAME, env={"KERNEL_EXECUTORS": str(_EXECUTORS)})
    with KernelSocket(server, kernel_id) as own:
        said = text_of(own.run(_TOLD, _SECONDS))
    server.stop_kernel(kernel_id)
    wait_until(lambda: executors(installation, kernel_id) == [], timeout=60)
    return _of(made, said)


def _may_make_pods(cluster: Cluster, installation: Installation) -> None:
    subprocess.run(
        [
            *("kubectl", "create", "rolebinding", "submit", "--namespace", cluster.namespace),
            f"--clusterrole={installation.cluster.instance}-kernel",
            f"--serviceaccount={cluster.namespace}:default",
        ],
        check=True,
        capture_output=True,
    )
    # spark-submit makes a ConfigMap and a Service too, which kernels have no need of.
    rules = [{"apiGroups": [""], "resources": ["configmaps", "services", "persistentvolumeclaims"], "verbs": ["*"]}]
    role = {"metadata": {"name": "submit"}, "rules": rules}
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": cluster.namespace}
    binding = {
        "metadata": {"name": "submit-more"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "submit"},
        "subjects": [subject],
    }
    roles = client.RbacAuthorizationV1Api()
    roles.create_namespaced_role(cluster.namespace, role)
    roles.create_namespaced_role_binding(cluster.namespace, binding)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round: to see that it works, not to quote")
    rounds = 1 if parser.parse_args().quick else 3
    runs: dict[str, list[_Run]] = {"spark-submit": [], "kernel": []}
    with Cluster() as cluster, tempfile.TemporaryDirectory() as folder, spark_installation(Path(folder)) as installation:
        installation.deliver(_NAME)
        config = json.loads(installation.kernelspec_text(_NAME))["metadata"]["kernel_provisioner"]["config"]
        server = spark_gateway(installation).start()
        _may_make_pods(cluster, installation)
        for _ in range(rounds + 1):
            runs["spark-submit"].append(_submitted(cluster, config["image_name"]))
            runs["kernel"].append(_ours(installation, server))
    table = Table(
        title="A job of two executors, medians of seconds",
        columns=["by", "request → result", "the job alone", "target"],
    )
    medians = {by: _Run(*(median(figure) for figure in zip(*values[1:], strict=True))) for by, values in runs.items()}
    plain, own = medians["spark-submit"], medians["kernel"]
    table.add("spark-submit", f"{plain.result:.1f}", f"{plain.job:.1f}", "")
    ratios = [own.result / plain.result, own.job / plain.job]
    verdict = ", ".join(f"{ratio:.2f} ≤ {_TARGET}: {'met' if ratio <= _TARGET else 'MISSED'}" for ratio in ratios)
    table.add("a kernel", f"{own.result:.1f}", f"{own.job:.1f}", verdict)
    table.print()


if __name__ == "__main__":
    main()
