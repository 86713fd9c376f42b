"""Spark from each language as its kernelspec is delivered: a lazy session with its first task, and an eager one after idling.

The nodes must find the images, and have them: the first kernel of each isn't counted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.gateway_common import Table, median
from tests.support.kernel_socket import KernelSocket
from tests.support.spark import executors, spark_gateway, spark_installation
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.support.installation import Installation
    from tests.support.servers import Server

_SECONDS = 180
_IDLE_SECONDS = 15.0
# Cells that name the session and want nothing of it, and such that want one task of an executor.
_NAMES = {"spark_python_kubernetes": "spark", "spark_scala_kubernetes": "spark", "spark_R_kubernetes": "invisible(spark)"}
_TASKS = {
    "spark_python_kubernetes": "spark.range(1000).selectExpr('sum(id)').first()[0]",
    "spark_scala_kubernetes": 'spark.range(1000).selectExpr("sum(id)").first().getLong(0)',
    "spark_R_kubernetes": 'spark$range(1000L)$selectExpr("sum(id)")$first()[[0]]',
}
_LAZY_TARGET, _EAGER_TARGET = 8.0, 0.5


def _cell(client: KernelSocket, code: str) -> float:
    began = time.perf_counter()
    replies = [message for message in client.run(code, _SECONDS) if message.type == "execute_reply"]
    seconds = time.perf_counter() - began
    assert replies[0].content["status"] == "ok", replies[0].content
    return seconds


def _end(installation: Installation, server: Server, kernel_id: str) -> None:
    """End a kernel, and return when its executors are gone: they take memory and processors from the next one."""
    server.stop_kernel(kernel_id)
    wait_until(lambda: executors(installation, kernel_id) == [], timeout=60)


def _lazy(installation: Installation, server: Server, name: str) -> tuple[float, float]:
    """Return seconds for the session with its first task, and for the same task again."""
    kernel_id = server.start_kernel(name)
    with KernelSocket(server, kernel_id) as client:
        seconds = _cell(client, _TASKS[name]), _cell(client, _TASKS[name])
    _end(installation, server, kernel_id)
    return seconds


def _eager(installation: Installation, server: Server, name: str) -> tuple[float, float, float]:
    """Return seconds until the kernel answers; then, after some idling, for a cell that names the session and one with a task."""
    began = time.perf_counter()
    kernel_id = server.start_kernel(_eager_name(name))
    answers = time.perf_counter() - began
    with KernelSocket(server, kernel_id) as client:
        time.sleep(_IDLE_SECONDS)
        named, task = _cell(client, _NAMES[name]), _cell(client, _TASKS[name])
    _end(installation, server, kernel_id)
    return answers, named, task


def _eager_name(name: str) -> str:
    return f"eager_{name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round: to see that it works, not to quote")
    parser.add_argument("--kernelspecs", default=",".join(_TASKS), help="these only, separated by commas")
    given = parser.parse_args()
    rounds = 1 if given.quick else 3
    lazy = Table(
        title="A lazy session, medians of seconds (all of them)",
        columns=["kernelspec", "session and its first task", "the same task again", "target"],
    )
    eager = Table(
        title=f"An eager session, medians of seconds; the first cell comes {_IDLE_SECONDS:.0f} s after the kernel answered",
        columns=["kernelspec", "POST → 201", "a cell that names it", "the next one, with its first task", "target"],
    )
    with tempfile.TemporaryDirectory() as folder, spark_installation(Path(folder)) as installation:
        names = given.kernelspecs.split(",")
        for name in names:
            installation.deliver(name)
            spec = json.loads(installation.kernelspec_text(name).replace('"lazy"', '"eager"'))
            installation.write_kernelspec(_eager_name(name), spec, {})
        server = spark_gateway(installation).start()
        for name in names:
            _lazy(installation, server, name)
            firsts, again = zip(*(_lazy(installation, server, name) for _ in range(rounds)), strict=True)
            all_of_them = ", ".join(f"{seconds:.1f}" for seconds in firsts)
            met = f"≤ {_LAZY_TARGET:.0f} s: {'met' if median(firsts) <= _LAZY_TARGET else 'MISSED'}"
            lazy.add(name, f"{median(firsts):.1f} ({all_of_them})", f"{median(again):.2f}", met)
            answers, named, tasks = zip(*(_eager(installation, server, name) for _ in range(rounds)), strict=True)
            met = f"< {_EAGER_TARGET} s: {'met' if median(named) < _EAGER_TARGET else 'MISSED'}"
            eager.add(name, *(f"{median(figure):.2f}" for figure in (answers, named, tasks)), met)
    lazy.print()
    eager.print()


if __name__ == "__main__":
    main()
