"""Kernels of each language in pods, as their kernelspecs are delivered: until they answer, until the first result, and again.

The nodes must find the images, and have them: the first start of each isn't counted. Spark needs a role that lets a kernel make
pods (`--cluster-role`), as the chart's `kernel-controller`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.gateway_common import Table, median
from tests.support.installation import Cluster, Installation
from tests.support.kernel_socket import KernelSocket
from tests.support.languages import LANGUAGES

if TYPE_CHECKING:
    from tests.support.servers import Server

_SECONDS = 180
_SPARK = "spark_python_kubernetes"
_FIRST = {
    **{each.kernelspec: (each.value, "6 * 7") for each in LANGUAGES.values()},
    "python_tf_kubernetes": ("import tensorflow as tf; int(tf.constant(6) * 7)", "import of TensorFlow"),
    _SPARK: ("spark.range(10).count()", "session, and a task on an executor"),
}
_TARGETS = {"R_kubernetes": "1.5", "scala_kubernetes": "4", _SPARK: "8 beside the start"}


def _cell(server: Server, kernel_id: str, code: str) -> float:
    with KernelSocket(server, kernel_id) as client:
        began = time.perf_counter()
        replies = [message for message in client.run(code, _SECONDS) if message.type == "execute_reply"]
        seconds = time.perf_counter() - began
    assert replies[0].content["status"] == "ok", replies[0].content
    return seconds


def _one(server: Server, name: str) -> tuple[float, float, float]:
    """Return seconds until a kernel answers, until its first result, and until it answers again when it is restarted."""
    began = time.perf_counter()
    kernel_id = server.start_kernel(name)
    start = time.perf_counter() - began
    first = _cell(server, kernel_id, _FIRST[name][0])
    began = time.perf_counter()
    server.request("POST", f"/api/kernels/{kernel_id}/restart", json={}).raise_for_status()
    again = time.perf_counter() - began
    server.stop_kernel(kernel_id)
    return start, first, again


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds: to see that it works, not to quote")
    parser.add_argument("--cluster-role", default="", help="the role of kernels in a namespace of their own; without it no Spark")
    parser.add_argument("--kernelspecs", default="", help="these only, separated by commas")
    given = parser.parse_args()
    rounds = 2 if given.quick else 5
    wanted = given.kernelspecs.split(",") if given.kernelspecs else list(_FIRST)
    names = [name for name in wanted if name != _SPARK or given.cluster_role]
    table = Table(
        title="Kernels of each language in pods, medians of seconds",
        columns=["kernelspec", "POST → 201", "first cell", "what it does", "start to first result", "restart by REST", "target"],
    )
    with tempfile.TemporaryDirectory() as folder:
        installation = Installation(folder=Path(folder), cluster=Cluster())
        try:
            for name in names:
                installation.deliver(name)
            server = installation.gateway(KERNEL_CLUSTER_ROLE=given.cluster_role).start()
            for name in names:
                _one(server, name)
                starts, firsts, again = zip(*(_one(server, name) for _ in range(rounds)), strict=True)
                both = median([start + first for start, first in zip(starts, firsts, strict=True)])
                figures = [f"{median(list(values)):.2f}" for values in (starts, firsts)]
                table.add(name, *figures, _FIRST[name][1], f"{both:.2f}", f"{median(list(again)):.2f}", _TARGETS.get(name, ""))
        finally:
            installation.close()
    table.print()


if __name__ == "__main__":
    main()
