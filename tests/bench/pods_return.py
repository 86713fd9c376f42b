"""500 clients of 20 kernels in pods that lose their gateway, by kill -9 and by a rollout: until all of them are back."""

from __future__ import annotations

import asyncio
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.gateway_common import Table, arguments, median
from tests.bench.pods_common import Cluster
from tests.support.crowd import ReturningCrowd
from tests.support.installation import Cluster as Installed
from tests.support.installation import Installation

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.servers import Server

_KERNELS, _QUICK_KERNELS = 20, 5
_CLIENTS, _QUICK_CLIENTS = 500, 50
_ROUNDS = 3
_AT_ONCE = 8
_LIGHT = "light"
_LONGEST = 120.0
_SECONDS = 5


def _one_comes_back(one: Server) -> None:
    one.kill()
    one.launch()


def _one_is_killed(one: Server) -> None:
    one.kill()


def _one_is_rolled_out(one: Server) -> None:
    one.stop(_LONGEST)


async def _seconds(servers: list[Server], kernels: list[str], count: int, happens: Callable[[Server], None]) -> float:
    """Return how long the clients of the first server need until each has its kernel's answer again.

    Counted from when it happens where there is another server, and from when the next process listens where there is none.
    """
    urls = [server.url for server in servers]
    async with ReturningCrowd(urls=urls, headers=servers[0].headers, kernel_ids=kernels, count=count) as crowd:
        await crowd.served(_LONGEST)
        crowd.forget()
        begun = time.perf_counter()
        told = asyncio.create_task(asyncio.to_thread(happens, servers[0]))
        listens, served = await crowd.served(_LONGEST)
        await told
    return served - (begun if len(servers) > 1 else listens)


def _measure(servers: list[Server], kernels: list[str], count: int, happens: Callable[[Server], None]) -> float:
    for server in servers:
        if not server.running:
            server.start(90)
    return asyncio.run(_seconds(servers, kernels, count, happens))


def main() -> None:
    quick = arguments(__doc__ or "").quick
    rounds = 1 if quick else _ROUNDS
    kernel_count, count = (_QUICK_KERNELS, _QUICK_CLIENTS) if quick else (_KERNELS, _CLIENTS)
    installed = Installed()
    source = (Path(__file__).parent / "light_kernel.py").read_text("utf-8")
    command = ["launch-kernel", "--kernel-id", "{kernel_id}", "--", "/opt/kernel/bin/python", "-c", source, "{connection_file}"]
    with Cluster() as cluster, tempfile.TemporaryDirectory() as folder:
        installation = Installation(folder=Path(folder), cluster=installed)
        installation.add_kernelspec(_LIGHT, argv=command)
        settings = {"SHARED_NAMESPACE": "True", "NAMESPACE": cluster.namespace, "KERNEL_LAUNCH_TIMEOUT": "120"}
        one, other = (installation.gateway(**settings).start(90) for _ in range(2))
        try:
            environment = {"KERNEL_MEMORY": "16Mi"}
            with ThreadPoolExecutor(_AT_ONCE) as executor:
                kernels = list(executor.map(lambda _: one.start_kernel(_LIGHT, env=environment), range(kernel_count)))
            killed = [_measure([one, other], kernels, count, _one_is_killed) for _ in range(rounds)]
            rolled_out = [_measure([one, other], kernels, count, _one_is_rolled_out) for _ in range(rounds)]
            other.stop()
            back = [_measure([one], kernels, count, _one_comes_back) for _ in range(rounds)]
        finally:
            installation.close()
    table = Table(
        title=f"{count} clients of {kernel_count} kernels in pods lose their gateway, {rounds} times each",
        columns=["what happens", "all are back after, s: median, slowest", "target"],
    )
    for what, seconds in (
        ("kill -9, and there is another replica", killed),
        ("a rollout: SIGTERM, and there is another replica", rolled_out),
        ("kill -9 of the only gateway, from when the next one listens", back),
    ):
        verdict = "met" if max(seconds) < _SECONDS else "MISSED"
        table.add(what, f"{median(seconds):.2f}, {max(seconds):.2f}", f"< {_SECONDS}: {verdict}")
    table.print()


if __name__ == "__main__":
    main()
