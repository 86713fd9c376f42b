"""Time from an execute_request to both its reply and its idle status: direct, through the gateway, through kernel_gateway."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING

from tests.bench.gateway_common import Direct, Table, arguments, median, percentile, servers
from tests.support.messages import V1_PROTOCOL
from tests.support.servers import Product
from tests.support.wire import WireClient

if TYPE_CHECKING:
    from collections.abc import Callable

_DIRECT = "direct ZMQ"
_OWN_KERNEL = "direct ZMQ, kernel of its own, not encrypted"

_WARM_UP = 10


def measure(*, rounds: int, executes: int) -> dict[str, list[list[float]]]:
    """Return, for each route, the milliseconds of every execute, one list a round.

    All routes but the last meet the gateway's or the peer's kernel, one after the other: two kernels never cost quite the
    same, and a kernel that encrypts costs more than one that doesn't.
    """
    with contextlib.ExitStack() as stack:
        both = [(server, server.start_kernel()) for server in stack.enter_context(servers(Product.GATEWAY, Product.PEER))]
        own = stack.enter_context(Direct.to_own_kernel())
        taken: dict[str, list[list[float]]] = defaultdict(list)
        for _ in range(rounds):
            with Direct.to_kernel_of(*both[0]) as direct:
                taken[_DIRECT].append(_executes(direct.run, executes))
            for server, kernel_id in both:
                for name, protocol in (("legacy", ""), ("v1", V1_PROTOCOL)):
                    with WireClient(server, kernel_id, protocol=protocol) as client:
                        taken[f"{server.product} {name}"].append(_executes(client.run, executes))
            taken[_OWN_KERNEL].append(_executes(own.run, executes))
        return taken


def _executes(run: Callable[[str], float], count: int) -> list[float]:
    for _ in range(_WARM_UP):
        run("pass")
    return [1000 * run("pass") for _ in range(count)]


def main() -> None:
    quick = arguments(__doc__ or "").quick
    taken = measure(rounds=3 if quick else 15, executes=20 if quick else 40)
    p50 = {route: median([median(one) for one in rounds]) for route, rounds in taken.items()}
    # Of all executes of a route: a round of 40 has no 99th percentile of its own.
    p99 = {route: percentile([value for one in rounds for value in one], 0.99) for route, rounds in taken.items()}
    table = Table(
        title="execute → reply and idle, milliseconds",
        columns=["route", "p50", "p50 over direct", "p99", "p99 over direct", "p50 / direct", "target"],
    )
    for route in taken:
        more50, more99 = p50[route] - p50[_DIRECT], p99[route] - p99[_DIRECT]
        verdict = ""
        if route.startswith(Product.GATEWAY):
            verdict = f"p50 ≤ +0.5: {'met' if more50 <= 0.5 else 'MISSED'}; p99 ≤ +3: {'met' if more99 <= 3 else 'MISSED'}"
        ratio = p50[route] / p50[_DIRECT]
        table.add(route, f"{p50[route]:.2f}", f"{more50:+.2f}", f"{p99[route]:.2f}", f"{more99:+.2f}", f"{ratio:.2f}", verdict)
    table.print()


if __name__ == "__main__":
    main()
