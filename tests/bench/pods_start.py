"""Seconds from POST to 201 of a kernel in a pod, beside the same pod made directly until its kernel answers."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families
from tests.bench.gateway_common import Table, arguments, median
from tests.bench.pods_common import KERNELSPEC, BarePods, Cluster, gateway

if TYPE_CHECKING:
    from tests.support.servers import Server

_DURATION = "enterprise_gateway_kernel_launch_duration_seconds"


def _phases(server: Server) -> dict[str, float]:
    """Return the mean seconds of each phase of the starts so far."""
    totals: dict[str, float] = defaultdict(float)
    counts: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(server.request("GET", "/metrics").text):
        if family.name != _DURATION:
            continue
        for sample in family.samples:
            if sample.labels.get("outcome") == "success" and sample.name.endswith(("_sum", "_count")):
                into = totals if sample.name.endswith("_sum") else counts
                into[sample.labels["phase"]] += sample.value
    return {phase: totals[phase] / counts[phase] for phase in totals if counts[phase]}


def main() -> None:
    rounds = 4 if arguments(__doc__ or "").quick else 12
    through: dict[str, list[float]] = defaultdict(list)
    cpu: dict[str, list[float]] = defaultdict(list)
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
                before, begun = server.cpu_seconds(), time.perf_counter()
                kernel_id = server.start_kernel(KERNELSPEC)
                through[mode].append(time.perf_counter() - begun)
                cpu[mode].append(server.cpu_seconds() - before)
                server.stop_kernel(kernel_id)
        phases = {mode: _phases(server) for mode, server in modes.items()}
    table = Table(
        title="A kernel in a pod: POST → 201, image on the node",
        columns=["route", "p50 s", "over the bare pod", "gateway's CPU ms", "target"],
    )
    base = median(floor)
    table.add("bare pod until its kernel answers", f"{base:.2f}", "", "", "")
    for mode, values in through.items():
        more, milliseconds = median([a - b for a, b in zip(values, floor, strict=True)]), 1000 * median(cpu[mode])
        verdict = f"≤ +0.25: {'met' if more <= 0.25 else 'MISSED'}; CPU < 20 ms: {'met' if milliseconds < 20 else 'MISSED'}"
        table.add(f"gateway, {mode}", f"{median(values):.2f}", f"{more:+.2f}", f"{milliseconds:.0f}", verdict)
    table.print()
    for mode, parts in phases.items():
        print(f"\nphases, {mode}, mean seconds: " + ", ".join(f"{phase} {value:.3f}" for phase, value in parts.items()))
        # "pod" is the scheduler's and the kubelet's, "connection" and "kernel" are the kernel's program starting.
        share = 1000 * (parts["prepare"] + parts["create"])
        print(f"the gateway's own share: {share:.0f} ms (< 150: {'met' if share < 150 else 'MISSED'})")


if __name__ == "__main__":
    main()
