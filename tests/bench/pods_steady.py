"""What kernels in pods cost while nothing happens: requests that the API server counts, and the gateway's memory."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families
from tests.bench.gateway_common import Table, arguments, median
from tests.bench.pods_common import KERNELSPEC, Cluster, gateway

_KERNELS = 10
_MIB = 1 << 20
# What a gateway asks about its kernels; what a node reports goes to subresources.
_RESOURCES = {"pods", "secrets", "namespaces", "configmaps", "rolebindings", "persistentvolumeclaims", "services", "events"}


def _requests() -> Counter[str]:
    """Return how many requests the API server has answered so far, by verb and resource."""
    text = subprocess.run(["kubectl", "get", "--raw", "/metrics"], check=True, capture_output=True, text=True).stdout
    counts: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if sample.name == "apiserver_request_total" and labels["resource"] in _RESOURCES and not labels["subresource"]:
                counts[f"{labels['verb']} {labels['resource']}"] += int(sample.value)
    return counts


def _during(seconds: float) -> Counter[str]:
    before = _requests()
    time.sleep(seconds)
    return _requests() - before


def main() -> None:
    seconds = 60 if arguments(__doc__ or "").quick else 300
    memory = []
    with Cluster() as cluster:
        with gateway(SHARED_NAMESPACE="True", NAMESPACE=cluster.namespace) as server:
            kernels = []
            for _ in range(_KERNELS):
                kernels.append(server.start_kernel(KERNELSPEC))
                memory.append(server.rss() / _MIB)
            time.sleep(5)
            with_gateway = _during(seconds)
            for kernel_id in kernels:
                server.stop_kernel(kernel_id)
        time.sleep(5)
        without = _during(seconds)
    more = with_gateway - without
    each = sum(more.values()) / _KERNELS / (seconds / 60)
    # The first kernels pay for what is made once.
    grown = median([b - a for a, b in pairwise(memory[2:])])
    table = Table(title=f"{_KERNELS} kernels in pods at rest for {seconds} s", columns=["figure", "value", "target"])
    table.add("API requests a kernel and minute", f"{each:.2f}", f"0: {'met' if each < 0.05 else 'MISSED'}")
    table.add("more requests than without a gateway", ", ".join(f"{count} {what}" for what, count in more.items()) or "none", "")
    table.add("gateway's memory a further kernel, MiB", f"{grown:.2f}", f"< 0.5: {'met' if grown < 0.5 else 'MISSED'}")
    table.print()


if __name__ == "__main__":
    main()
