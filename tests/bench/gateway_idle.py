"""What a server costs that does nothing: its memory, 100 connected websockets, and the time until it is ready."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict

from tests.bench.gateway_common import Table, arguments, median, servers
from tests.support.messages import V1_PROTOCOL
from tests.support.servers import Product
from tests.support.wire import WireClient

_KERNELS = 4
_WEBSOCKETS = 100
_MEBIBYTE = 1 << 20


def cost(product: Product, seconds: float) -> tuple[float, float, float]:
    """Return MiB without and with kernels, and the share of a core that 100 idle websockets take."""
    with servers(product) as [server]:
        server.request("GET", "/api/kernelspecs")
        empty = server.rss() / _MEBIBYTE
        kernels = [server.start_kernel() for _ in range(_KERNELS)]
        time.sleep(2)
        loaded = server.rss() / _MEBIBYTE
        with contextlib.ExitStack() as stack:
            for number in range(_WEBSOCKETS):
                protocol = V1_PROTOCOL if number % 2 else ""
                stack.enter_context(WireClient(server, kernels[number % _KERNELS], protocol=protocol))
            time.sleep(2)
            before, begun = server.cpu_seconds(), time.perf_counter()
            time.sleep(seconds)
            share = (server.cpu_seconds() - before) / (time.perf_counter() - begun)
        return empty, loaded, share


def start_seconds(product: Product) -> float:
    """Return the seconds from the start of the process until it says that it is ready."""
    begun = time.perf_counter()
    with servers(product):
        return time.perf_counter() - begun


def main() -> None:
    quick = arguments(__doc__ or "").quick
    products = (Product.GATEWAY, Product.PEER)
    starts: dict[str, list[float]] = defaultdict(list)
    for _ in range(3 if quick else 7):
        for product in products:
            starts[product].append(start_seconds(product))
    costs = {product: cost(product, seconds=5 if quick else 20) for product in products}
    ours, peer = costs[Product.GATEWAY], costs[Product.PEER]
    table = Table(title="at rest", columns=["figure", "gateway", "kernel_gateway", "ratio", "target"])
    limits = [
        ("memory without kernels, MiB", 60.0, "≤ 60"),
        (f"memory with {_KERNELS} local kernels, MiB", 60.0, "≤ 60"),
        (f"{_WEBSOCKETS} idle websockets, % of a core", 1.0, "< 1"),
    ]
    scale = (1.0, 1.0, 100.0)
    for (name, limit, words), one, other, factor in zip(limits, ours, peer, scale, strict=True):
        ratio = f"{one / other:.2f}" if other else "-"
        verdict = f"{words}: {'met' if one * factor <= limit else 'MISSED'}"
        table.add(name, f"{one * factor:.2f}", f"{other * factor:.2f}", ratio, verdict)
    first, second = median(starts[Product.GATEWAY]), median(starts[Product.PEER])
    verdict = f"< 1.0: {'met' if first < 1 else 'MISSED'}"
    table.add("start until ready, s", f"{first:.2f}", f"{second:.2f}", f"{first / second:.2f}", verdict)
    table.print()


if __name__ == "__main__":
    main()
