"""A gateway that is killed and a new one: seconds until all kernels are listed, idle and used again, and what was lost."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.gateway_common import Table, arguments, median
from tests.bench.pods_common import Cluster
from tests.support.installation import Cluster as Installed
from tests.support.installation import Installation
from tests.support.kernel_socket import KernelSocket, text_of

if TYPE_CHECKING:
    from tests.support.servers import Server

_AT_ONCE = 8
_LIGHT = "light"


def _run(server: Server, kernel_id: str, code: str) -> str:
    with KernelSocket(server, kernel_id) as client:
        return text_of(client.run(code, timeout=60))


def _start(server: Server) -> str:
    kernel_id = server.start_kernel(_LIGHT, env={"KERNEL_CPUS": "0.01", "KERNEL_MEMORY": "16Mi"})
    _run(server, kernel_id, f"mine = {kernel_id!r}")
    return kernel_id


def _kill_and_start(server: Server, kernels: list[str]) -> tuple[float, float, float, int]:
    """Return the seconds from the new process' start until all are listed, all idle, all used, and how many lost a variable."""
    server.kill()
    begun = time.perf_counter()
    server.launch()
    server.wait_ready(120)
    while server.kernel_ids() != set(kernels):
        time.sleep(0.02)
    listed = time.perf_counter() - begun
    while any(model["execution_state"] != "idle" for model in server.request("GET", "/api/kernels").json()):
        time.sleep(0.02)
    idle = time.perf_counter() - begun
    with ThreadPoolExecutor(_AT_ONCE) as executor:
        said = list(executor.map(lambda kernel_id: _run(server, kernel_id, "print(mine)"), kernels))
    used = time.perf_counter() - begun
    lost = sum(text != f"{kernel_id}\n" for text, kernel_id in zip(said, kernels, strict=True))
    return listed, idle, used, lost


def main() -> None:
    quick = arguments(__doc__ or "").quick
    count, rounds = (20, 1) if quick else (100, 3)
    installed = Installed()
    source = (Path(__file__).parent / "light_kernel.py").read_text("utf-8")
    with Cluster() as cluster, tempfile.TemporaryDirectory() as folder:
        installation = Installation(folder=Path(folder), cluster=installed)
        installation.add_kernelspec(_LIGHT, argv=["/opt/kernel/bin/python", "-c", source, "{connection_file}"])
        server = installation.gateway(
            SHARED_NAMESPACE="True", NAMESPACE=cluster.namespace, TRANSPORT_ENCRYPTION="disabled", KERNEL_LAUNCH_TIMEOUT="300"
        )
        try:
            server.start(90)
            with ThreadPoolExecutor(_AT_ONCE) as executor:
                kernels = list(executor.map(lambda _: _start(server), range(count)))
            results = [_kill_and_start(server, kernels) for _ in range(rounds)]
        finally:
            installation.close()
    listed, idle, used = (median([result[index] for result in results]) for index in range(3))
    lost = sum(result[3] for result in results)
    table = Table(
        title=f"{count} kernels in pods (of the light kind), the gateway killed and started again, {rounds} times",
        columns=["figure", "value", "target"],
    )
    table.add("all listed, s after the new process' start", f"{listed:.2f}", "")
    table.add("all known to be idle, s", f"{idle:.2f}", f"< 10: {'met' if idle < 10 else 'MISSED'}")
    table.add(f"all have answered a cell, {_AT_ONCE} clients at once, s", f"{used:.2f}", "")
    table.add("variables lost", lost, f"0: {'met' if lost == 0 else 'MISSED'}")
    table.print()


if __name__ == "__main__":
    main()
