"""A restart by REST of a kernel in a pod, beside one of a kernel of this machine: until the kernel answers again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.bench.gateway_common import Table, arguments, median, servers
from tests.bench.pods_common import KERNELSPEC, Cluster, gateway
from tests.support.servers import Product

if TYPE_CHECKING:
    from tests.support.servers import Server


def _restart(server: Server, kernel_id: str) -> float:
    begun = time.perf_counter()
    server.request("POST", f"/api/kernels/{kernel_id}/restart", json={}).raise_for_status()
    return time.perf_counter() - begun


def main() -> None:
    rounds = 5 if arguments(__doc__ or "").quick else 20
    in_pod, local = [], []
    with (
        Cluster() as cluster,
        gateway(SHARED_NAMESPACE="True", NAMESPACE=cluster.namespace) as pods,
        servers(Product.GATEWAY) as (here,),
    ):
        kernels = pods.start_kernel(KERNELSPEC), here.start_kernel("python3")
        pod = cluster.pod_of(kernels[0]).metadata.uid
        for _ in range(rounds):
            in_pod.append(_restart(pods, kernels[0]))
            local.append(_restart(here, kernels[1]))
        stayed = cluster.pod_of(kernels[0]).metadata.uid == pod
        here.stop_kernel(kernels[1])
    ratio = median(in_pod) / median(local)
    table = Table(title=f"A restart, {rounds} rounds, seconds", columns=["route", "p50", "slowest", "target"])
    table.add("kernel of this machine", f"{median(local):.2f}", f"{max(local):.2f}", "")
    table.add(
        "kernel in a pod",
        f"{median(in_pod):.2f}",
        f"{max(in_pod):.2f}",
        f"≤ 1.2 of the other: {ratio:.2f} {'met' if ratio <= 1.2 else 'MISSED'}",
    )
    table.add("its pod stayed", "yes" if stayed else "no", "", "met" if stayed else "MISSED")
    table.print()


if __name__ == "__main__":
    main()
