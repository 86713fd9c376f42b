"""What the supervisor in a kernel's pod costs beside kernels of each language: memory, and processor time at rest.

The nodes must be of this machine, whose processes are looked at as root: a supervisor shows nobody in its pod what it holds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.gateway_common import Table, median
from tests.support.installation import Cluster, Installation
from tests.support.kernel_socket import KernelSocket
from tests.support.languages import LANGUAGES

if TYPE_CHECKING:
    from tests.support.servers import Server

_SECONDS = 120
_REST = 60.0
_ROUNDS = 3
_MOST_MEMORY, _MOST_REST = 25.0, 0.1
_KERNELSPECS = {language.kernelspec: language.value for language in LANGUAGES.values()} | {"python_kubernetes": "6 * 7"}


def _processes(kernel_id: str) -> tuple[int, list[int]]:
    """Return the first process of a kernel's pod, and the others."""
    first, others = [], []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"KERNEL_ID={kernel_id}".encode() not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            status = (folder / "status").read_text()
        except OSError:
            continue  # it has ended
        (inside,) = [line.split()[-1] for line in status.splitlines() if line.startswith("NSpid:")]
        (first if inside == "1" else others).append(int(folder.name))
    (supervisor,) = first
    return supervisor, others


def _mebibytes(process: int) -> float:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def _processor_seconds(process: int) -> float:
    # In nanoseconds, of each thread; what `stat` has comes in steps of 10 ms.
    threads = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _one(server: Server, name: str, rest: float) -> tuple[float, float, float]:
    """Return a supervisor's memory, that of the kernel's processes, and what of a processor the supervisor takes at rest."""
    kernel_id = server.start_kernel(name)
    with KernelSocket(server, kernel_id) as client:
        client.run(_KERNELSPECS[name], _SECONDS)
        supervisor, others = _processes(kernel_id)
        before = _processor_seconds(supervisor)
        time.sleep(rest)
        at_rest = 100 * (_processor_seconds(supervisor) - before) / rest
        memory = _mebibytes(supervisor), sum(_mebibytes(each) for each in others)
    server.stop_kernel(kernel_id)
    return *memory, at_rest


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round: to see that it works, not to quote")
    parser.add_argument("--kernelspecs", default="python_kubernetes,R_kubernetes,scala_kubernetes", help="separated by commas")
    given = parser.parse_args()
    rounds, rest = (1, 5.0) if given.quick else (_ROUNDS, _REST)
    table = Table(
        title="The supervisor in a kernel's pod, medians; a client is connected",
        columns=["kernelspec", "private memory, MiB", "the kernel's, MiB", "processor at rest, % of a core", "targets"],
    )
    with tempfile.TemporaryDirectory() as folder:
        installation = Installation(folder=Path(folder), cluster=Cluster())
        try:
            names = given.kernelspecs.split(",")
            for name in names:
                installation.deliver(name)
            server = installation.gateway().start()
            for name in names:
                memory, kernels, at_rest = (
                    median(figure) for figure in zip(*(_one(server, name, rest) for _ in range(rounds)), strict=True)
                )
                targets = {f"≤ {_MOST_MEMORY:.0f}": memory <= _MOST_MEMORY, f"≤ {_MOST_REST}": at_rest <= _MOST_REST}
                verdict = ", ".join(f"{target}: {'met' if met else 'MISSED'}" for target, met in targets.items())
                table.add(name, f"{memory:.1f}", f"{kernels:.0f}", f"{at_rest:.2f}", verdict)
        finally:
            installation.close()
    table.print()


if __name__ == "__main__":
    main()
