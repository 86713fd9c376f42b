"""Many kernels asked for at once: seconds until every one has answered its first cell, and how many failed."""

from __future__ import annotations

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.bench.gateway_common import Table, arguments, median, servers
from tests.support.servers import Product
from tests.support.wire import WireClient

if TYPE_CHECKING:
    from tests.support.servers import Server


def start_and_use(server: Server) -> str | None:
    """Start a kernel and run a cell; return its id, or nothing where either failed."""
    answer = server.request("POST", "/api/kernels", json={"name": "python3"}, timeout=120)
    if answer.status_code != 201:
        print(f"{server.product}: {answer.status_code} {answer.text}")
        return None
    kernel_id = str(answer.json()["id"])
    with WireClient(server, kernel_id) as client:
        client.run("1")
    return kernel_id


def measure(server: Server, count: int) -> tuple[float, int]:
    """Return the seconds for so many kernels at once, and how many of them failed."""
    with ThreadPoolExecutor(count) as executor:
        begun = time.perf_counter()
        started = list(executor.map(lambda _: start_and_use(server), range(count)))
        seconds = time.perf_counter() - begun
    for kernel_id in started:
        if kernel_id:
            server.stop_kernel(kernel_id)
    return seconds, started.count(None)


def main() -> None:
    quick = arguments(__doc__ or "").quick
    table = Table(
        title="kernels started at once, seconds until all have answered a cell",
        columns=["kernels", "gateway", "failed", "kernel_gateway", "failed", "ratio", "target"],
    )
    with servers(Product.GATEWAY, Product.PEER) as both:
        for server in both:
            measure(server, 1)
        for count, rounds in ((8, 1 if quick else 5), (32, 1 if quick else 2)):
            seconds: dict[str, list[float]] = defaultdict(list)
            failed: dict[str, int] = defaultdict(int)
            for _ in range(rounds):
                for server in both:
                    taken, failures = measure(server, count)
                    seconds[server.product].append(taken)
                    failed[server.product] += failures
            ours, peer = median(seconds[Product.GATEWAY]), median(seconds[Product.PEER])
            good = not failed[Product.GATEWAY] and (count > 8 or ours <= 1.2 * peer)
            target = "none fails" + (", at most 1.2 of kernel_gateway" if count == 8 else "")
            verdict = f"{target}: {'met' if good else 'MISSED'}"
            numbers = (f"{ours:.2f}", failed[Product.GATEWAY], f"{peer:.2f}", failed[Product.PEER], f"{ours / peer:.2f}")
            table.add(count, *numbers, verdict)
    table.print()


if __name__ == "__main__":
    main()
