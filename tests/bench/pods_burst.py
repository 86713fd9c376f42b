"""Sixteen kernels asked for at once on the cluster, beside sixteen bare pods; what another client notices meanwhile."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.bench.asking_client import asking
from tests.bench.gateway_common import Table, arguments, median, percentile
from tests.bench.pods_common import KERNELSPEC, BarePods, Cluster, Sampler, gateway

_AT_ONCE = 16
_MIB = 1 << 20
# A pod that is deleted without grace is gone at once, and its node goes on taking it away: nothing of that may be measured.
_SETTLE_SECONDS = 6


def main() -> None:
    rounds = 1 if arguments(__doc__ or "").quick else 3
    bare_walls, walls, idle_latencies, latencies, grown = [], [], [], [], []
    failed = 0
    with Cluster() as cluster, gateway(SHARED_NAMESPACE="True", NAMESPACE=cluster.namespace) as server:
        pattern = server.start_kernel(KERNELSPEC)
        bare = BarePods(cluster=cluster, kernel_id=pattern)
        server.stop_kernel(pattern)

        for _ in range(rounds):
            # The same client asks the gateway while it has nothing to do: what the machine itself costs that client.
            time.sleep(_SETTLE_SECONDS)
            with asking(server, "/api", interval=0.05) as samples:
                names, wall = bare.start_many(_AT_ONCE)
            bare_walls.append(wall)
            idle_latencies += samples
            bare.stop(*names)
            time.sleep(_SETTLE_SECONDS)
            before = server.rss()
            memory = Sampler(lambda: float(server.rss()), interval=0.25)
            with asking(server, "/api", interval=0.05) as samples, memory:
                begun = time.perf_counter()
                with ThreadPoolExecutor(_AT_ONCE) as executor:
                    post = partial(server.request, "POST", "/api/kernels", json={"name": KERNELSPEC}, timeout=150)
                    answers = [executor.submit(post) for _ in range(_AT_ONCE)]
                    started = [answer.result() for answer in answers]
                walls.append(time.perf_counter() - begun)
            failed += sum(answer.status_code != 201 for answer in started)
            latencies += samples
            grown.append((max(memory.samples) - before) / _MIB)
            for kernel_id in server.kernel_ids():
                server.stop_kernel(kernel_id)
    ratio, p99, more = median(walls) / median(bare_walls), percentile(latencies, 0.99), max(grown)
    table = Table(title=f"{_AT_ONCE} kernels in pods at once", columns=["figure", "value", "target"])
    table.add("bare pods, wall s", f"{median(bare_walls):.2f}", "")
    table.add("through the gateway, wall s", f"{median(walls):.2f}", "")
    table.add("ratio", f"{ratio:.2f}", f"≤ 1.25: {'met' if ratio <= 1.25 else 'MISSED'}")
    table.add("failed", failed, f"none: {'met' if not failed else 'MISSED'}")
    table.add("GET /api while bare pods start, p99 ms", f"{percentile(idle_latencies, 0.99):.1f}", "")
    table.add("GET /api meanwhile, p99 ms", f"{p99:.1f}", f"< 50: {'met' if p99 < 50 else 'MISSED'}")
    table.add("gateway's memory grew, MiB at most", f"{more:.1f}", f"< 30: {'met' if more < 30 else 'MISSED'}")
    table.print()


if __name__ == "__main__":
    main()
