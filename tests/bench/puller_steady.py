"""What the puller costs when there is nothing to do: CPU, memory, imports, and the requests of a round.

    python tests/bench/puller_steady.py [--seconds 60]

Needs root, containerd and docker-registry; everything else it starts itself, on loopback.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e" / "puller"))

from puller_support import (
    Containerd,
    FaultyRegistry,
    KernelspecsServer,
    PullerProcess,
    Registry,
    free_port,
    push_image,
    wait_until,
)

IMAGES = 50
SHORT_INTERVAL, USUAL_INTERVAL = 2.0, 300.0
ROUNDS = 1000
_LIST = 'grpc_method="ListImages"'

_IMPORTS = """
import sys
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
before = resident()
print(f"{'python':24} {before:6.1f} MiB")
for name in sys.argv[1:]:
    start = resident()
    __import__(name)
    print(f"{name:24} {resident() - start:+6.1f} MiB")
"""

_MANY_ROUNDS = """
import gc, sys
from kernel_image_puller.cli import load_settings
from kernel_image_puller.clock import SystemClock
from kernel_image_puller.wiring import build
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
settings, _ = load_settings({}, dict(item.split("=", 1) for item in sys.argv[2:]))
parts = build(settings, {"KIP_GATEWAY_HOST": "set"}, clock=SystemClock())
for number in range(1, int(sys.argv[1]) + 1):
    parts.rounds.round()
    if number in (100, int(sys.argv[1])):
        gc.collect()
        print(f"{resident():.2f}")
"""


def processor_seconds(process: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def list_calls(metrics_port: int) -> float:
    """Return how often the runtime was asked for its list of images."""
    text = requests.get(f"http://127.0.0.1:{metrics_port}/v1/metrics", timeout=5).text
    lines = [line for line in text.splitlines() if line.startswith("grpc_server_handled_total") and _LIST in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if 'grpc_service="runtime.v1.ImageService"' in line)


def measure(folder: Path, seconds: float) -> None:
    """Print all figures."""
    registry, metrics_port = Registry(folder / "registry"), free_port()
    proxy, gateway = FaultyRegistry(registry.address, host="127.0.0.1"), KernelspecsServer()
    containerd = Containerd(folder / "containerd", program=shutil.which("containerd") or "containerd", metrics_port=metrics_port)
    host = f"127.0.0.1:{proxy.port}"
    for number in range(IMAGES):
        push_image(registry.address, f"bench/steady{number}", "1")
    gateway.set_images({f"spec{number}": f"{host}/bench/steady{number}:1" for number in range(IMAGES)})
    environment = {
        "KIP_CRI_ENDPOINT": containerd.endpoint,
        "KIP_GATEWAY_HOST": gateway.url,
        "KIP_INTERVAL": str(SHORT_INTERVAL),
    }
    with PullerProcess(folder / "puller.log", **environment) as puller:
        present = 'kip_images{state="present"}'
        wait_until(lambda: puller.metrics().get(present) == IMAGES, seconds=60, what="all images are present")
        proxy.forget()
        gateway.statuses.clear()
        lists, used, began = list_calls(metrics_port), processor_seconds(puller.process.pid), time.monotonic()
        time.sleep(seconds)
        used, elapsed = processor_seconds(puller.process.pid) - used, time.monotonic() - began
        rounds = len(gateway.statuses)
        print(f"rounds                        {rounds} in {elapsed:.0f} s")
        print(f"processor time a round        {1000 * used / rounds:.1f} ms")
        print(f"share of a core, {SHORT_INTERVAL:.0f} s rounds  {100 * used / elapsed:.2f} %")
        print(f"share of a core, {USUAL_INTERVAL:.0f} s       {100 * used / rounds / USUAL_INTERVAL:.4f} %  (bound 0.2 %)")
        print(f"resident memory               {puller.resources()[2]:.1f} MiB  (bound 80 MiB)")
        print(f"gateway requests a round      {len(gateway.statuses) / rounds:.2f}, answered {sorted(set(gateway.statuses))}")
        print(f"lists of the runtime a round  {(list_calls(metrics_port) - lists) / rounds:.2f}")
        print(f"registry requests             {len(proxy.requests)}")
    settings = [f"{name}={value}" for name, value in environment.items()]
    done = subprocess.run(
        [sys.executable, "-c", _MANY_ROUNDS, str(ROUNDS), *settings, "KIP_MIN_FREE_PERCENT=0"],
        capture_output=True,
        text=True,
        check=True,
    )
    early, late = (float(line) for line in done.stdout.split())
    print(f"memory after 100 rounds       {early:.1f} MiB; after {ROUNDS}: {late:.1f} MiB")
    for close in (proxy.close, gateway.close, containerd.close, registry.close):
        close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    for modes in (
        ["grpc", "google.protobuf.message", "tenacity", "prometheus_client", "requests"],
        ["docker"],
        ["kubernetes.client"],
    ):
        sys.stdout.write(
            subprocess.run([sys.executable, "-c", _IMPORTS, *modes], capture_output=True, text=True, check=True).stdout
        )
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments.seconds)


if __name__ == "__main__":
    main()
