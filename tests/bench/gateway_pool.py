"""From POST to the first cell's result with a kernel of this machine that waited, beside one that didn't."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.bench.gateway_common import Table, arguments, median, percentile, servers
from tests.support.servers import Product
from tests.support.wire import WireClient

if TYPE_CHECKING:
    from tests.support.servers import Server

_POOL_SECONDS = 3.0
"""What the next process needs to wait again."""


def start(server: Server) -> float:
    """Return the seconds until a new kernel has answered a cell."""
    begun = time.perf_counter()
    kernel_id = server.start_kernel("python3")
    with WireClient(server, kernel_id) as client:
        client.run("1")
    seconds = time.perf_counter() - begun
    server.stop_kernel(kernel_id)
    return seconds


def main() -> None:
    rounds = 4 if arguments(__doc__ or "").quick else 20
    table = Table(title="A kernel of this machine: POST → first result", columns=["", "p50 s", "p99 s", "target"])
    with (
        servers(Product.GATEWAY) as (plain,),
        servers(Product.GATEWAY, settings={"WARM_POOLS": "python3=1"}) as (pooled,),
    ):
        seconds: dict[str, list[float]] = {"without a pool": [], "with one": []}
        for _ in range(rounds):
            time.sleep(_POOL_SECONDS)
            seconds["without a pool"].append(start(plain))
            time.sleep(_POOL_SECONDS)
            seconds["with one"].append(start(pooled))
    for name, values in seconds.items():
        p50 = median(values)
        verdict = f"p50 ≤ 0.08 s: {'met' if p50 <= 0.08 else 'MISSED'}" if name == "with one" else ""
        table.add(name, f"{p50:.3f}", f"{percentile(values, 0.99):.3f}", verdict)
    table.print()


if __name__ == "__main__":
    main()
