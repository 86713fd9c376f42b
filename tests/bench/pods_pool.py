"""From POST to the first result with a pod that waited, beside one that did not; and ten claims a second for ten seconds."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.gateway_common import Table, arguments, median, percentile
from tests.bench.pods_common import KERNELSPEC, Cluster, gateway
from tests.support.wire import WireClient

from enterprise_gateway_common import labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.servers import Server

_READY_SECONDS = 300
_CLAIMS_A_SECOND = 10


class _Start(NamedTuple):
    """Seconds until the 201, until the first cell's result, and the gateway's CPU time until then."""

    answered: float
    result: float
    cpu: float


def _start(server: Server) -> _Start:
    cpu, begun = server.cpu_seconds(), time.perf_counter()
    kernel_id = server.start_kernel(KERNELSPEC)
    answered = time.perf_counter() - begun
    cpu = server.cpu_seconds() - cpu
    with WireClient(server, kernel_id) as client:
        client.run("1")
    result = time.perf_counter() - begun
    server.stop_kernel(kernel_id)
    return _Start(answered, result, cpu)


def _wait_ready(cluster: Cluster, count: int) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        pods = cluster.core.list_namespaced_pod(cluster.namespace, label_selector=f"component={labels.COMPONENT_POOL}").items
        if sum(labels.POOL_READY_ANNOTATION in (pod.metadata.annotations or {}) for pod in pods) >= count:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"of {count} pods in waiting {len(pods)} exist after {_READY_SECONDS} s")
        time.sleep(0.2)


def _rounds(cluster: Cluster, server: Server, rounds: int, *, pooled: bool) -> list[_Start]:
    starts = []
    for _ in range(rounds):
        if pooled:
            _wait_ready(cluster, 2)
        # What the start before it left for the nodes to do isn't this one's.
        time.sleep(2)
        starts.append(_start(server))
    return starts


def _many(cluster: Cluster, server: Server, seconds: int) -> list[float]:
    """Return the seconds from POST to 201 of claims at a steady rate, the failed ones as infinite."""
    count = _CLAIMS_A_SECOND * seconds
    _wait_ready(cluster, count)
    time.sleep(5)

    def one(number: int) -> float:
        time.sleep(max(0.0, begun + number / _CLAIMS_A_SECOND - time.perf_counter()))
        asked = time.perf_counter()
        answer = server.request("POST", "/api/kernels", json={"name": KERNELSPEC}, timeout=60)
        return time.perf_counter() - asked if answer.status_code == 201 else float("inf")

    with ThreadPoolExecutor(count) as executor:
        begun = time.perf_counter() + 0.5
        return list(executor.map(one, range(count)))


def _row(table: Table, name: str, starts: Sequence[_Start], *, targets: bool) -> None:
    answered, result, cpu = ([getattr(start, field) for start in starts] for field in ("answered", "result", "cpu"))
    p50, p99 = median(result), percentile(result, 0.99)
    verdict = ""
    if targets:
        reached = {"p50 ≤ 0.15 s": p50 <= 0.15, "p99 ≤ 0.3 s": p99 <= 0.3, "CPU ≤ 12 ms": median(cpu) <= 0.012}
        verdict = ", ".join(f"{target}: {'met' if met else 'MISSED'}" for target, met in reached.items())
    table.add(name, f"{median(answered):.3f}", f"{p50:.3f}", f"{p99:.3f}", f"{1000 * median(cpu):.0f}", verdict)


def main() -> None:
    quick = arguments(__doc__ or "").quick
    rounds, seconds = (4, 2) if quick else (30, 10)
    table = Table(
        title="A kernel in a pod, image on the node",
        columns=["", "POST → 201, p50 s", "→ first result, p50 s", "p99 s", "gateway CPU ms", "target"],
    )
    with Cluster() as cluster:
        own = {"KERNEL_NAMESPACES": cluster.namespace}
        with gateway(**own) as server:
            _row(table, "without a pool", _rounds(cluster, server, max(4, rounds // 3), pooled=False), targets=False)
        with gateway(WARM_POOLS=f"{KERNELSPEC}=2", **own) as server:
            _row(table, "claimed from a pool", _rounds(cluster, server, rounds, pooled=True), targets=True)
        with gateway(WARM_POOLS=f"{KERNELSPEC}={_CLAIMS_A_SECOND * seconds}", **own) as server:
            many = _many(cluster, server, seconds)
        cluster.core.delete_collection_namespaced_pod(cluster.namespace, grace_period_seconds=0)
    table.print()
    many_table = Table(
        title=f"{_CLAIMS_A_SECOND} claims a second for {seconds} s: POST → 201", columns=["p50 s", "p99 s", "failed"]
    )
    many_table.add(f"{median(many):.3f}", f"{percentile(many, 0.99):.3f}", many.count(float("inf")))
    many_table.print()


if __name__ == "__main__":
    main()
