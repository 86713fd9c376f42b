"""A gateway with 500 supervised kernels that is killed: until a new one lists and uses all of them, and the memory of each."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.gateway_common import Table, arguments, median
from tests.bench.hollow_node import HollowNode
from tests.bench.pods_common import Cluster
from tests.support.installation import Cluster as Installed
from tests.support.installation import Installation, delivered_template
from tests.support.wire import WireClient

if TYPE_CHECKING:
    from tests.support.servers import Server

_KERNELS, _QUICK_KERNELS = 500, 40
_ROUNDS = 3
_AT_ONCE = 8
_LIGHT = "light"
_KIBIBYTE = 1024
_SECONDS, _MEBIBYTES = 10, 0.15


def _answers(server: Server, kernel_id: str, code: str) -> bool:
    """Execute code and tell whether the kernel's id is in what it says."""
    with WireClient(server, kernel_id) as wire:
        frame, mark = wire.prepare(code)
        wire.socket.sendall(frame)
        found = replied = idle = False
        while not (replied and idle):
            message = wire.next_frame()
            if mark in message:
                found = found or (b'"stream"' in message and kernel_id.encode() in message)
                replied = replied or b'"execute_reply"' in message
                idle = idle or wire.is_idle(message)
        return found


def _start(server: Server) -> str:
    kernel_id = server.start_kernel(_LIGHT, env={"KERNEL_CPUS": "0.01", "KERNEL_MEMORY": "16Mi"})
    _answers(server, kernel_id, f"mine = {kernel_id!r}")
    return kernel_id


def _kill_and_start(server: Server, kernels: list[str]) -> tuple[float, float, float, float, int]:
    """Return the seconds until all are listed, idle and used; the bytes that the process takes; and how many lost a variable."""
    server.kill()
    begun = time.perf_counter()
    server.launch()
    server.wait_ready(120)
    while len(models := server.request("GET", "/api/kernels").json()) < len(kernels):
        time.sleep(0.05)
    listed = time.perf_counter() - begun
    while any(model["execution_state"] != "idle" for model in models):
        time.sleep(0.05)
        models = server.request("GET", "/api/kernels").json()
    idle = time.perf_counter() - begun
    with ThreadPoolExecutor(_AT_ONCE) as executor:
        found = list(executor.map(lambda kernel_id: _answers(server, kernel_id, "print(mine)"), kernels))
    used = time.perf_counter() - begun
    return listed, idle, used, server.rss(), found.count(False)


def main() -> None:
    quick = arguments(__doc__ or "").quick
    count, rounds = (_QUICK_KERNELS, 1) if quick else (_KERNELS, _ROUNDS)
    installed = Installed()
    source = (Path(__file__).parent / "light_kernel.py").read_text("utf-8")
    with (
        Cluster() as cluster,
        HollowNode(cluster.core, namespace=cluster.namespace) as node,
        tempfile.TemporaryDirectory() as folder,
    ):
        installation = Installation(folder=Path(folder), cluster=installed)
        installation.add_kernelspec(
            _LIGHT,
            argv=["launch-kernel", "--kernel-id", "{kernel_id}", "--", "python", "-c", source, "{connection_file}"],
            template=delivered_template().replace("spec:\n", f"spec:\n{node.template_lines}", 1),
        )
        server = installation.gateway(SHARED_NAMESPACE="True", NAMESPACE=cluster.namespace, KERNEL_LAUNCH_TIMEOUT="300")
        try:
            server.start(90)
            empty = server.rss()
            with ThreadPoolExecutor(_AT_ONCE) as executor:
                kernels = list(executor.map(lambda _: _start(server), range(count)))
            results = [_kill_and_start(server, kernels) for _ in range(rounds)]
        finally:
            installation.close()
    listed, idle, used, taken = (median([result[index] for result in results]) for index in range(4))
    lost = sum(result[4] for result in results)
    each = (taken - empty) / count / _KIBIBYTE**2
    table = Table(
        title=f"{count} supervised kernels of the light kind, the gateway killed and started again, {rounds} times",
        columns=["figure", "value", "target"],
    )
    table.add("all listed, s after the new process' start", f"{listed:.2f}", "")
    table.add("all known to be idle, s", f"{idle:.2f}", "")
    table.add(
        f"all have answered a cell, {_AT_ONCE} clients at once, s", f"{used:.2f}", f"< {_SECONDS}: {_verdict(used < _SECONDS)}"
    )
    table.add("variables lost", lost, f"0: {_verdict(lost == 0)}")
    table.add("the gateway's memory for each, MiB", f"{each:.3f}", f"< {_MEBIBYTES}: {_verdict(each < _MEBIBYTES)}")
    table.print()


def _verdict(met: bool) -> str:  # noqa: FBT001 - its only fact
    return "met" if met else "MISSED"


if __name__ == "__main__":
    main()
