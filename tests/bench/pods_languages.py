"""Kernels of each language in pods, as their kernelspecs are delivered: until they answer, until the first result, and again.

Beside each start stands that of the same pod by the Kubernetes API alone. The nodes must find the images, and have them: the
first start of each isn't counted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.gateway_common import Table, median
from tests.bench.pods_common import BarePods, Cluster
from tests.support.kernel_socket import KernelSocket
from tests.support.languages import LANGUAGES
from tests.support.spark import spark_gateway, spark_installation

if TYPE_CHECKING:
    from tests.support.servers import Server

_SECONDS = 180
_FIRST = {
    **{each.kernelspec: (each.value, "6 * 7") for each in LANGUAGES.values()},
    "python_tf_kubernetes": ("import tensorflow as tf; int(tf.constant(6) * 7)", "import of TensorFlow"),
    **dict.fromkeys(("spark_python_kubernetes", "spark_scala_kubernetes", "spark_R_kubernetes"), ("6 * 7", "6 * 7")),
}
_TARGETS = {"R_kubernetes": 1.5, "scala_kubernetes": 4.0}
_MOST_OVER_BARE = 0.15


class _Start(NamedTuple):
    """Seconds of one kernel."""

    bare: float
    """Until it answers in a pod that no gateway has made."""
    answers: float
    first: float
    again: float

    @property
    def more(self) -> float:
        """What the gateway adds."""
        return self.answers - self.bare


def _cell(server: Server, kernel_id: str, code: str) -> float:
    with KernelSocket(server, kernel_id) as client:
        began = time.perf_counter()
        replies = [message for message in client.run(code, _SECONDS) if message.type == "execute_reply"]
        seconds = time.perf_counter() - began
    assert replies[0].content["status"] == "ok", replies[0].content
    return seconds


def _one(server: Server, name: str, bare: BarePods) -> _Start:
    pod, seconds = bare.start()
    bare.stop(pod)
    began = time.perf_counter()
    kernel_id = server.start_kernel(name)
    answers = time.perf_counter() - began
    first = _cell(server, kernel_id, _FIRST[name][0])
    began = time.perf_counter()
    server.request("POST", f"/api/kernels/{kernel_id}/restart", json={}).raise_for_status()
    again = time.perf_counter() - began
    server.stop_kernel(kernel_id)
    return _Start(seconds, answers, first, again)


def _starts(server: Server, name: str, rounds: int) -> list[_Start]:
    with Cluster() as cluster:
        pattern = server.start_kernel(name)
        bare = BarePods(cluster=cluster, kernel_id=pattern)
        server.stop_kernel(pattern)
        _one(server, name, bare)
        return [_one(server, name, bare) for _ in range(rounds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds: to see that it works, not to quote")
    parser.add_argument("--kernelspecs", default=",".join(_FIRST), help="these only, separated by commas")
    given = parser.parse_args()
    names = given.kernelspecs.split(",")
    table = Table(
        title="Kernels of each language in pods, medians of seconds; each in a namespace of its own",
        columns=[
            "kernelspec",
            "bare pod",
            "POST → 201",
            "over it",
            "first cell",
            "what it does",
            "first result",
            "restart",
            "target",
        ],
    )
    with tempfile.TemporaryDirectory() as folder, spark_installation(Path(folder)) as installation:
        for name in names:
            installation.deliver(name)
        server = spark_gateway(installation).start()
        for name in names:
            starts = _starts(server, name, 2 if given.quick else 3)
            bare, answers, more, first, again = (
                median([getattr(start, figure) for start in starts]) for figure in ("bare", "answers", "more", "first", "again")
            )
            result = median([start.answers + start.first for start in starts])
            targets = {f"≤ +{_MOST_OVER_BARE} s": more <= _MOST_OVER_BARE}
            if name in _TARGETS:
                targets[f"≤ {_TARGETS[name]} s"] = result <= _TARGETS[name]
            table.add(
                name,
                *(f"{figure:.2f}" for figure in (bare, answers)),
                f"{more:+.2f}",
                f"{first:.2f}",
                _FIRST[name][1],
                *(f"{figure:.2f}" for figure in (result, again)),
                ", ".join(f"{target}: {'met' if met else 'MISSED'}" for target, met in targets.items()),
            )
    table.print()


if __name__ == "__main__":
    main()
