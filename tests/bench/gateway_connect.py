"""A thousand websockets at once to twenty kernels: how long until all are served, and what the others notice meanwhile."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from pathlib import Path

import requests
from tests.bench.gateway_common import Table, arguments, percentile, servers
from tests.support.crowd import Crowd
from tests.support.servers import Product, Server, Workspace, free_port

_KERNELS = 20
_WEBSOCKETS = 1000
_QUICK_WEBSOCKETS = 200
_LONGEST = 300.0
_PROBE_SECONDS = 0.1
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
        crowd = Crowd(url=server.url, headers=server.headers)
        seconds = asyncio.run(crowd.connect(kernels, count, within=_LONGEST))
        shown = lag(server)
        cpu = server.cpu_seconds() - cpu
        in_turn, beside = [prober.stop() for prober in probers]
    table = Table(title=f"{count} websockets at once to {_KERNELS} kernels", columns=["figure", "gateway"])
    table.add("each has its kernel's answer after, s", f"{seconds:.1f}")
    table.add("asked to come again", sum(status != "101" for status in crowd.statuses))
    table.add("CPU of the gateway, s", f"{cpu:.1f}")
    for name, probes in (("/livez", in_turn), ("/livez of the health port", beside)):
        table.add(f"{name}, median / slowest, s", f"{percentile(probes, 0.5):.3f} / {max(probes):.3f}")
    table.add("event_loop_lag_seconds after it", f"{shown:.3f}")
    table.print()


if __name__ == "__main__":
    main()
