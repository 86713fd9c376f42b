"""A thousand websockets at once to twenty kernels: how long until all are served, and what the others notice meanwhile."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import requests
from tests.bench.gateway_common import Table, arguments, percentile, servers
from tests.support.messages import encode_legacy, request
from tests.support.servers import Product, Server, Workspace, free_port

_KERNELS = 20
_WEBSOCKETS = 1000
_QUICK_WEBSOCKETS = 200
_LONGEST = 300.0
_PROBE_SECONDS = 0.1
_CHUNK = 1 << 16
_OVERLAP = 64
_LIGHT = "light"


def light_kernel(folder: Path) -> dict[str, str]:
    """Return the environment of a server that has a kernel of a tenth of a real one's memory."""
    source = (Path(__file__).parent / "light_kernel.py").read_text("utf-8")
    workspace = Workspace(root=folder)
    workspace.add_kernelspec(_LIGHT, [sys.executable, "-c", source, "{connection_file}"])
    return {"JUPYTER_PATH": str(workspace.data)}


class Prober(threading.Thread):
    """Asks for a server's health all the time, and notes how long each answer took."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._end = threading.Event()
        self.seconds: list[float] = []

    def run(self) -> None:
        session = requests.Session()
        while not self._end.wait(_PROBE_SECONDS):
            begun = time.perf_counter()
            session.get(self._url, timeout=_LONGEST).raise_for_status()
            self.seconds.append(time.perf_counter() - begun)

    def stop(self) -> list[float]:
        """Return the seconds of every answer."""
        self._end.set()
        self.join()
        return self.seconds


def question() -> bytes:
    """Return the frame of a question to the kernel."""
    text = encode_legacy(request("shell", "kernel_info_request", {}, session=uuid.uuid4().hex))
    # A mask of zeros changes nothing.
    return b"\x81\xfe" + struct.pack("!H", len(text)) + bytes(4) + text.encode()


async def connect(server: Server, kernel_id: str, statuses: list[str]) -> asyncio.StreamReader:
    """Open one websocket, however long it takes, and come again where the server asks for that; its kernel has answered then."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET /api/kernels/{kernel_id}/channels HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        *(f"{name}: {value}" for name, value in server.headers.items()),
    ]
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write("\r\n".join([*lines, "", ""]).encode())
        status = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
        statuses.append(status)
        if status == "101":
            writer.write(question())
            seen = b""
            while b'"kernel_info_reply"' not in seen:
                seen = seen[-_OVERLAP:] + (chunk := await reader.read(_CHUNK))
                assert chunk, "the server closed a websocket"
            # Its writer closes the connection when nobody knows it any more.
            reader.writer = writer
            return reader
        writer.close()
        await asyncio.sleep(1)


async def discard(reader: asyncio.StreamReader) -> None:
    """Read all that comes, as a client does."""
    while await reader.read(_CHUNK):
        pass


async def storm(server: Server, kernels: list[str], count: int) -> tuple[float, list[str]]:
    """Open all websockets at once; return the seconds until the last one's kernel has answered, and all statuses."""
    statuses: list[str] = []
    begun = time.perf_counter()

    async def one(number: int) -> asyncio.Task[None]:
        reader = await connect(server, kernels[number % len(kernels)], statuses)
        return asyncio.create_task(discard(reader))

    async with asyncio.timeout(_LONGEST):
        readers = await asyncio.gather(*map(one, range(count)))
    seconds = time.perf_counter() - begun
    for reader in readers:
        reader.cancel()
    return seconds, statuses


def lag(server: Server) -> float:
    """Return what the server says itself of how late it was."""
    text = server.request("GET", "/metrics", timeout=_LONGEST).text
    found = [line for line in text.splitlines() if line.startswith("enterprise_gateway_event_loop_lag_seconds ")]
    return float(found[0].split()[1])


def main() -> None:
    count = _QUICK_WEBSOCKETS if arguments(__doc__ or "").quick else _WEBSOCKETS
    health_port = free_port()
    settings = {"HEALTH_PORT": str(health_port)}
    with (
        tempfile.TemporaryDirectory() as folder,
        servers(Product.GATEWAY, settings=settings, environment=light_kernel(Path(folder))) as [server],
    ):
        kernels = [server.start_kernel(_LIGHT) for _ in range(_KERNELS)]
        probers = [Prober(f"{server.url}/livez"), Prober(f"http://127.0.0.1:{health_port}/livez")]
        for prober in probers:
            prober.start()
        cpu = server.cpu_seconds()
        seconds, statuses = asyncio.run(storm(server, kernels, count))
        shown = lag(server)
        cpu = server.cpu_seconds() - cpu
        in_turn, beside = [prober.stop() for prober in probers]
    table = Table(title=f"{count} websockets at once to {_KERNELS} kernels", columns=["figure", "gateway"])
    table.add("each has its kernel's answer after, s", f"{seconds:.1f}")
    table.add("asked to come again", sum(status != "101" for status in statuses))
    table.add("CPU of the gateway, s", f"{cpu:.1f}")
    for name, probes in (("/livez", in_turn), ("/livez of the health port", beside)):
        table.add(f"{name}, median / slowest, s", f"{percentile(probes, 0.5):.3f} / {max(probes):.3f}")
    table.add("event_loop_lag_seconds after it", f"{shown:.3f}")
    table.print()


if __name__ == "__main__":
    main()
