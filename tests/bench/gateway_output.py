"""Output from a kernel to a client that doesn't parse it: many small messages, 50 MB at once, and a client that reads slowly."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from tests.bench.gateway_common import Direct, Table, arguments, median, servers
from tests.support.messages import V1_PROTOCOL
from tests.support.servers import Product
from tests.support.wire import WireClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.servers import Server

_MESSAGES = 2000
# One message each, because the kernel sends what was printed when it is flushed.
_SMALL = f"for i in range({_MESSAGES}): print(i, flush=True)"
_MEGABYTES = 50
# Without a flush ipykernel joins what a loop prints: these 50 MB are one message, which any gateway must hold as a whole.
_JOINED = f"for i in range({_MEGABYTES * 10}): print('x' * 99_999)"
_PARTS = _JOINED.replace(")", ", flush=True)").replace(", flush=True):", "):")
_DIRECT = "direct ZMQ"


@dataclass(kw_only=True)
class Memory:
    """The resident bytes of a server while something runs, sampled every 50 ms."""

    server: Server
    samples: list[int] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self.samples.append(self.server.rss())
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.samples.append(self.server.rss())

    @property
    def growth(self) -> int:
        """The most that it had beyond what it began with."""
        return max(self.samples) - self.samples[0]


@dataclass(kw_only=True)
class Route:
    """What one way from the kernel to the client achieved, a value a round."""

    messages_a_second: list[float] = field(default_factory=list)
    parts_megabytes_a_second: list[float] = field(default_factory=list)
    joined_megabytes_a_second: list[float] = field(default_factory=list)
    arrived: list[int] = field(default_factory=list)


def rates(rounds: int) -> dict[str, Route]:
    """Measure every route in turns."""
    taken: dict[str, Route] = defaultdict(Route)
    with contextlib.ExitStack() as stack:
        both = stack.enter_context(servers(Product.GATEWAY, Product.PEER))
        routes: dict[str, Callable[[str], tuple[float, int]]] = {_DIRECT: stack.enter_context(Direct.to_own_kernel()).drain}
        for server in both:
            kernel_id = server.start_kernel()
            for name, protocol in (("legacy", ""), ("v1", V1_PROTOCOL)):
                routes[f"{server.product} {name}"] = _route(server, kernel_id, protocol)
        for drain in routes.values():
            drain("pass")
        for _ in range(rounds):
            for route, drain in routes.items():
                taken[route].messages_a_second.append(_MESSAGES / drain(_SMALL)[0])
                for code, into in (
                    (_PARTS, taken[route].parts_megabytes_a_second),
                    (_JOINED, taken[route].joined_megabytes_a_second),
                ):
                    seconds, count = drain(code)
                    into.append(_MEGABYTES / seconds)
                    taken[route].arrived.append(count)
    return taken


def _route(server: Server, kernel_id: str, protocol: str) -> Callable[[str], tuple[float, int]]:
    """A connection of its own for each cell, so that the other protocol's client isn't served at the same time."""

    def drain(code: str) -> tuple[float, int]:
        with WireClient(server, kernel_id, protocol=protocol) as client:
            client.run("pass")
            return client.drain(code)

    return drain


def slow_reader(product: Product, seconds: float) -> tuple[int, int]:
    """Return by how many bytes a server grows while a client reads 50 MB at 1 MB/s, and how many bytes came after that."""
    with servers(product) as [server]:
        kernel_id = server.start_kernel()
        with WireClient(server, kernel_id, receive_buffer=65536) as client:
            client.run("pass")
            with Memory(server=server) as memory:
                _, early = client.drain(_PARTS, bytes_a_second=1e6, seconds=seconds)
            late = _rest(client)
        return memory.growth, early + late


def _rest(client: WireClient) -> int:
    """Read on at full speed until nothing has come for two seconds; return the bytes."""
    count = 0
    client.socket.settimeout(2)
    with contextlib.suppress(TimeoutError):
        while chunk := client.socket.recv(1 << 18):
            count += len(chunk)
    return count


def main() -> None:
    quick = arguments(__doc__ or "").quick
    taken = rates(rounds=1 if quick else 7)
    table = Table(
        title=f"output: {_MESSAGES} small messages; {_MEGABYTES} MB as 500 messages and as one; a client that doesn't parse",
        columns=["route", "messages/s", "of direct", "MB/s in 500", "of direct", "MB/s in one", "of direct", "arrived", "target"],
    )
    direct = taken[_DIRECT]
    for route, own in taken.items():
        cells, ratios = [], []
        for name in ("messages_a_second", "parts_megabytes_a_second", "joined_megabytes_a_second"):
            value = median(getattr(own, name))
            ratios.append(value / median(getattr(direct, name)))
            cells += [f"{value:.0f}", f"{ratios[-1]:.2f}"]
        whole = min(own.arrived) >= _MEGABYTES * 1_000_000
        verdict = ""
        if route.startswith(Product.GATEWAY):
            verdict = f"≥ 0.9: {'met' if ratios[0] >= 0.9 else 'MISSED'}; whole and both ≥ 0.5: "
            verdict += "met" if whole and min(ratios[1:]) >= 0.5 else "MISSED"
        table.add(route, *cells, f"{min(own.arrived) / 1e6:.1f} MB", verdict)
    table.print()

    table = Table(
        title=f"a client that reads 1 MB/s while a cell prints {_MEGABYTES} MB in 500 messages",
        columns=["server", "grows by", "arrived in the end", "target"],
    )
    for product in (Product.GATEWAY, Product.PEER):
        growth, count = slow_reader(product, seconds=4 if quick else 12)
        verdict = f"< 32 MB: {'met' if growth < 32e6 else 'MISSED'}" if product is Product.GATEWAY else ""
        table.add(product, f"{growth / 1e6:.1f} MB", f"{count / 1e6:.1f} MB", verdict)
    table.print()


if __name__ == "__main__":
    main()
