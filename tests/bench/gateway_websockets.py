"""A thousand idle websockets to twenty kernels beside bare tornado ones: time, memory, and what a message to many costs."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from tests.bench.gateway_common import Table, arguments, median, percentile, servers
from tests.bench.gateway_connect import Prober, light_kernel
from tests.support.messages import V1_PROTOCOL
from tests.support.servers import Product, Server, free_port
from tests.support.wire import WireClient

if TYPE_CHECKING:
    from collections.abc import Callable

_KERNELS = 20
_WEBSOCKETS = 1000
_QUICK_WEBSOCKETS = 200
_SESSIONS = 50
_LINES = 400
_ROUNDS = 3
_LIGHT = "light"
_CHUNK = 1 << 16
_BACK_SECONDS = 20.0
_KIBIBYTE = 1024

_BARE = """
import asyncio, sys
from tornado.web import Application
from tornado.websocket import WebSocketHandler


class Echo(WebSocketHandler):
    def open(self):
        self.set_nodelay(True)

    def on_message(self, message):
        self.write_message(message)


async def main():
    Application([("/.*", Echo)]).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main())
"""


async def _open(port: int, path: str, headers: dict[str, str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in answer.split(b"\r\n", 1)[0], answer
    return reader, writer


async def _crowd(port: int, paths: list[str], headers: dict[str, str], rss: Callable[[], int]) -> tuple[float, float]:
    """Open all at once and close them again; return the seconds until the last is open, and the bytes that each takes."""
    before = rss()
    begun = time.perf_counter()
    opened = await asyncio.gather(*(_open(port, path, headers) for path in paths))
    seconds = time.perf_counter() - begun
    await asyncio.sleep(1)
    taken = rss() - before
    for _, writer in opened:
        writer.close()
    await asyncio.sleep(_BACK_SECONDS)
    return seconds, taken / len(paths)


def bare(count: int) -> tuple[float, float]:
    """Measure a tornado server that does nothing else."""
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", _BARE, str(port)]) as process:
        try:
            while not _listens(port):
                time.sleep(0.05)
            asyncio.run(_crowd(port, ["/"] * 10, {}, lambda: 0))
            return asyncio.run(_crowd(port, ["/"] * count, {}, _rss(process.pid)))
        finally:
            process.kill()


def _rss(pid: int) -> Callable[[], int]:
    process = psutil.Process(pid)
    return lambda: process.memory_info().rss


def _listens(port: int) -> bool:
    return any(c.laddr.port == port and c.status == psutil.CONN_LISTEN for c in psutil.net_connections("tcp4"))


def gateway(server: Server, kernels: list[str], count: int) -> tuple[float, float, list[float]]:
    """Measure the gateway, and how long its health probe took meanwhile."""
    prober = Prober(f"{server.url}/livez")
    prober.start()
    paths = [f"/api/kernels/{kernels[number % len(kernels)]}/channels?session_id={uuid.uuid4().hex}" for number in range(count)]
    seconds, each = asyncio.run(_crowd(server.port, paths, dict(server.headers), server.rss))
    return seconds, each, prober.stop()


def fan_out(server: Server, kernel: str, protocol: str) -> float:
    """Return the microseconds of the gateway's CPU for a line that is delivered to one of many sessions."""
    clients = [WireClient(server, kernel, protocol=protocol) for _ in range(_SESSIONS)]
    readers = [threading.Thread(target=_discard, args=(client,)) for client in clients[1:]]
    for reader in readers:
        reader.start()
    clients[0].run("1")
    before = server.cpu_seconds()
    # Each line is a message: a kernel joins what is printed within a moment.
    clients[0].run(f"import time\nfor i in range({_LINES}):\n    print(i, flush=True)\n    time.sleep(0.002)")
    used = server.cpu_seconds() - before
    for client in clients:
        client.socket.shutdown(2)
    for reader in readers:
        reader.join()
    for client in clients:
        client.socket.close()
    return used / (_LINES * _SESSIONS) * 1e6


def _discard(client: WireClient) -> None:
    with suppress(ConnectionResetError):
        while client.socket.recv(_CHUNK):
            pass


def main() -> None:
    quick = arguments(__doc__ or "").quick
    count, rounds = (_QUICK_WEBSOCKETS, 1) if quick else (_WEBSOCKETS, _ROUNDS)
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder, servers(Product.GATEWAY, environment=light_kernel(Path(folder))) as [server]:
        kernels = [server.start_kernel(_LIGHT) for _ in range(_KERNELS)]
        for _ in range(rounds):
            theirs.append(bare(count))
            ours.append(gateway(server, kernels, count))
    with servers(Product.GATEWAY) as [server]:
        kernel = server.start_kernel()
        legacy, v1 = (median([fan_out(server, kernel, protocol) for _ in range(rounds)]) for protocol in ("", V1_PROTOCOL))
    table = Table(title=f"{count} idle websockets to {_KERNELS} kernels", columns=["figure", "gateway", "bare tornado", "ratio"])
    mine, peer = median([seconds for seconds, *_ in ours]), median([seconds for seconds, *_ in theirs])
    table.add("all are open after, s", f"{mine:.2f}", f"{peer:.2f}", f"{mine / peer:.2f}")
    # Later rounds find memory that the first one gave back to the process, which the system doesn't get.
    mine, peer = ours[0][1] / _KIBIBYTE, theirs[0][1] / _KIBIBYTE
    table.add("memory, each, KiB", f"{mine:.2f}", f"{peer:.2f}", f"{mine / peer:.2f}")
    if rounds > 1:
        table.add(
            "memory that as many more take later, each, KiB", *(f"{one[1][1] / _KIBIBYTE:.2f}" for one in (ours, theirs)), ""
        )
    probes = [seconds for round_ in ours for seconds in round_[2]]
    table.add("`/livez` meanwhile, p99 / slowest, ms", f"{percentile(probes, 0.99) * 1e3:.0f} / {max(probes) * 1e3:.0f}", "", "")
    table.add(f"a line to {_SESSIONS} sessions, CPU each, legacy / v1, µs", f"{legacy:.0f} / {v1:.0f}", "", "")
    table.print()


if __name__ == "__main__":
    main()
