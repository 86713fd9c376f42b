"""Time from an execute_request to its reply and idle status, for a kernel in a pod: direct to one, and through the gateway."""

from __future__ import annotations

from collections import defaultdict

from tests.bench.gateway_common import Table, arguments, median, percentile
from tests.bench.pods_common import KERNELSPEC, BarePods, Cluster, direct_to, gateway
from tests.support.messages import V1_PROTOCOL
from tests.support.wire import WireClient

_WARM_UP = 10
_DIRECT = "direct ZMQ to such a pod"


def main() -> None:
    quick = arguments(__doc__ or "").quick
    rounds, executes = (3, 20) if quick else (15, 40)
    taken: dict[str, list[list[float]]] = defaultdict(list)
    with Cluster() as cluster, gateway(SHARED_NAMESPACE="True", NAMESPACE=cluster.namespace) as server:
        kernel_id = server.start_kernel(KERNELSPEC)
        # The gateway's own pod has a supervisor, past which nobody reaches its kernel.
        pods = BarePods(cluster=cluster, kernel_id=kernel_id)
        connection = pods.connection_to(pods.start()[0])
        for _ in range(rounds):
            with direct_to(connection) as direct:
                taken[_DIRECT].append(_executes(direct.run, executes))
            for name, protocol in (("legacy", ""), ("v1", V1_PROTOCOL)):
                with WireClient(server, kernel_id, protocol=protocol) as client:
                    taken[f"gateway {name}"].append(_executes(client.run, executes))
    table = Table(
        title="A kernel in a pod: execute → reply and idle, milliseconds",
        columns=["route", "p50", "p50 over direct", "p99", "target"],
    )
    p50 = {route: median([median(one) for one in each]) for route, each in taken.items()}
    for route, each in taken.items():
        more = p50[route] - p50[_DIRECT]
        verdict = "" if route == _DIRECT else f"≤ +1: {'met' if more <= 1 else 'MISSED'}"
        p99 = percentile([value for one in each for value in one], 0.99)
        table.add(route, f"{p50[route]:.2f}", f"{more:+.2f}", f"{p99:.2f}", verdict)
    table.print()


def _executes(run, count: int) -> list[float]:
    for _ in range(_WARM_UP):
        run("pass")
    return [1000 * run("pass") for _ in range(count)]


if __name__ == "__main__":
    main()
