"""Executes a second over eight kernels at once, each asked again as soon as it has answered."""

from __future__ import annotations

import contextlib
import selectors
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.bench.gateway_common import Table, arguments, median, servers
from tests.support.messages import V1_PROTOCOL
from tests.support.servers import Product
from tests.support.wire import WireClient

if TYPE_CHECKING:
    from tests.support.servers import Server

_KERNELS = 8


class _Loop:
    """One client in its closed loop: a cell is sent when the one before has its reply and its idle status."""

    def __init__(self, client: WireClient) -> None:
        self.client = client
        self.done = 0
        self.send()

    def send(self) -> None:
        frame, self.mark = self.client.prepare("pass")
        self.answers = 0
        self.client.socket.sendall(frame)

    def receive(self) -> None:
        for message in self.client.available():
            if self.mark in message and (b'"execute_reply"' in message or self.client.is_idle(message)):
                self.answers += 1
                if self.answers == 2:
                    self.done += 1
                    self.send()


def measure(server: Server, kernels: list[str], protocol: str, seconds: float) -> float:
    """Return the executes a second of all kernels together."""
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        clients = [stack.enter_context(WireClient(server, kernel_id, protocol=protocol)) for kernel_id in kernels]
        for client in clients:
            client.run("pass")
        begun = time.perf_counter()
        loops = []
        for client in clients:
            loops.append(_Loop(client))
            selector.register(client.socket, selectors.EVENT_READ, loops[-1])
        while time.perf_counter() - begun < seconds:
            for key, _ in selector.select(1):
                key.data.receive()
        return sum(loop.done for loop in loops) / (time.perf_counter() - begun)


def main() -> None:
    quick = arguments(__doc__ or "").quick
    taken: dict[str, list[float]] = defaultdict(list)
    with servers(Product.GATEWAY, Product.PEER) as both:
        kernels = {}
        for server in both:
            with ThreadPoolExecutor(_KERNELS) as executor:
                kernels[server.product] = list(executor.map(lambda _, s=server: s.start_kernel(), range(_KERNELS)))
        # Kernels that have just started still have work of their own.
        for server in both:
            measure(server, kernels[server.product], "", seconds=2)
        for _ in range(1 if quick else 5):
            for server in both:
                for name, protocol in (("legacy", ""), ("v1", V1_PROTOCOL)):
                    rate = measure(server, kernels[server.product], protocol, seconds=2 if quick else 4)
                    taken[f"{server.product} {name}"].append(rate)
    table = Table(
        title=f"executes a second over {_KERNELS} kernels", columns=["route", "executes/s", "of kernel_gateway", "target"]
    )
    for route, values in taken.items():
        product, name = route.rsplit(" ", 1)
        ratio = median(values) / median(taken[f"{Product.PEER} {name}"])
        verdict = f"≥ 1.8: {'met' if ratio >= 1.8 else 'MISSED'}" if product == Product.GATEWAY else ""
        table.add(route, f"{median(values):.0f}", f"{ratio:.2f}", verdict)
    table.print()


if __name__ == "__main__":
    main()
