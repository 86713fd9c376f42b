"""Seconds from POST to 201 of a kernel in a pod, beside the same pod made directly until its kernel answers.

The gateway's own share of a start is from the request until the pod's object is accepted, and from the moment at which the
kernel listens until it is listed as idle. Between the two it waits for the scheduler, the kubelet and the kernel's program. Of
the second part's seconds those are left out that the kernel takes for its first answer; the CPU time is all of both.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, Self

from prometheus_client.parser import text_string_to_metric_families
from tests.bench.gateway_common import Table, arguments, median
from tests.bench.pods_common import KERNELSPEC, BarePods, Cluster, gateway

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.servers import Server

_DURATION = "enterprise_gateway_kernel_launch_duration_seconds"


_BEFORE, _WAITING = ("prepare", "create"), ("pod", "connection")


def _totals(server: Server) -> dict[str, float]:
    """Return the seconds of each phase of the starts so far, summed up."""
    return {
        sample.labels["phase"]: sample.value
        for family in text_string_to_metric_families(server.request("GET", "/metrics").text)
        if family.name == _DURATION
        for sample in family.samples
        if sample.labels.get("outcome") == "success" and sample.name.endswith("_sum")
    }


class _ProcessorTime:
    """Notes a process' CPU time every millisecond while it is entered."""

    def __init__(self, server: Server) -> None:
        self._read = server.cpu_seconds
        self._ended = threading.Event()
        self._notes: list[tuple[float, float]] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.001):
            self._notes.append((time.perf_counter(), self._read()))

    def at(self, moment: float) -> float:
        """Return the CPU time at a moment."""
        return self._notes[min(bisect.bisect_left(self._notes, (moment, 0.0)), len(self._notes) - 1)][1]


class _Start(NamedTuple):
    """Seconds of one start."""

    wall: float
    cpu: float
    own_cpu: float
    phases: Mapping[str, float]

    @property
    def own_wall(self) -> float:
        """What isn't waiting for the cluster or for the kernel."""
        return self.wall - sum(self.phases[phase] for phase in (*_WAITING, "kernel"))


def _start(server: Server) -> _Start:
    before = _totals(server)
    with _ProcessorTime(server) as processor:
        cpu, begun = server.cpu_seconds(), time.perf_counter()
        kernel_id = server.start_kernel(KERNELSPEC)
        ended = time.perf_counter()
        total = server.cpu_seconds() - cpu
    phases = {phase: seconds - before.get(phase, 0.0) for phase, seconds in _totals(server).items()}
    server.stop_kernel(kernel_id)
    accepted = begun + sum(phases[phase] for phase in _BEFORE)
    waited = processor.at(accepted + sum(phases[phase] for phase in _WAITING)) - processor.at(accepted)
    return _Start(ended - begun, total, total - waited, phases)


def main() -> None:
    rounds = 4 if arguments(__doc__ or "").quick else 12
    starts: dict[str, list[_Start]] = defaultdict(list)
    floor: list[float] = []
    with Cluster() as cluster, gateway(SHARED_NAMESPACE="True", NAMESPACE=cluster.namespace) as shared, gateway() as own:
        modes = {"namespace shared": shared, "namespace of its own": own}
        pattern = shared.start_kernel(KERNELSPEC)
        own.stop_kernel(own.start_kernel(KERNELSPEC))
        bare = BarePods(cluster=cluster, kernel_id=pattern)
        shared.stop_kernel(pattern)
        bare.stop(bare.start()[0])
        for _ in range(rounds):
            name, seconds = bare.start()
            floor.append(seconds)
            bare.stop(name)
            for mode, server in modes.items():
                starts[mode].append(_start(server))
    table = Table(
        title="A kernel in a pod: POST → 201, image on the node",
        columns=["route", "p50 s", "over the bare pod", "own share ms", "its CPU ms", "CPU of all ms", "target"],
    )
    table.add("bare pod until its kernel answers", f"{median(floor):.2f}", "", "", "", "", "")
    for mode, values in starts.items():
        more = median([start.wall - bare for start, bare in zip(values, floor, strict=True)])
        share, own_cpu, cpu = (
            1000 * median([getattr(start, name) for start in values]) for name in ("own_wall", "own_cpu", "cpu")
        )
        targets = {"≤ +0.25 s": more <= 0.25, "share < 150 ms": share < 150, "its CPU < 20 ms": own_cpu < 20}
        verdict = ", ".join(f"{target}: {'met' if met else 'MISSED'}" for target, met in targets.items())
        table.add(
            f"gateway, {mode}",
            f"{median([start.wall for start in values]):.2f}",
            f"{more:+.2f}",
            *(f"{number:.0f}" for number in (share, own_cpu, cpu)),
            verdict,
        )
    table.print()
    for mode, values in starts.items():
        names = values[0].phases
        means = {name: sum(start.phases[name] for start in values) / len(values) for name in names}
        print(f"\nphases, {mode}, mean seconds: " + ", ".join(f"{name} {value:.3f}" for name, value in means.items()))


if __name__ == "__main__":
    main()
