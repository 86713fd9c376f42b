"""How fast the puller pulls: against two parallel streams of `ctr images pull`, and from a new kernelspec to the first byte.

    python tests/bench/puller_pull.py [--runs 3]

Both sides pull the same ten images of 20 MB into a containerd of their own, by turns.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e" / "puller"))

from puller_support import Containerd, FaultyRegistry, KernelspecsServer, PullerProcess, Registry, push_image, wait_until

IMAGES, SIZE = 10, 20_000_000
STREAMS = 2
INTERVAL = 2.0


def by_ctr(folder: Path, program: str, names: list[str]) -> float:
    """Return the seconds that two streams of ctr take."""
    containerd = Containerd(folder, program=program)
    command = ["ctr", "-a", str(containerd.socket), "-n", "k8s.io", "images", "pull", "--plain-http", "--snapshotter", "native"]

    def pull(name: str) -> None:
        subprocess.run([*command, name], check=True, capture_output=True)

    began = time.monotonic()
    with ThreadPoolExecutor(STREAMS) as pool:
        list(pool.map(pull, names))
    seconds = time.monotonic() - began
    containerd.close()
    return seconds


def by_puller(folder: Path, program: str, names: list[str]) -> float:
    """Return the seconds from the first pull that the puller begins to the last image that is present."""
    containerd = Containerd(folder, program=program)
    environment = {"KIP_CRI_ENDPOINT": containerd.endpoint, "KIP_IMAGES": ",".join(names), "KIP_NUM_PULLERS": str(STREAMS)}
    began = time.monotonic()
    with PullerProcess(folder / "puller.log", "--once", **environment) as puller:
        if puller.process.wait(120) != 0:
            raise AssertionError(puller.text())
    seconds = time.monotonic() - began
    containerd.close()
    return seconds


def first_byte(folder: Path, program: str, registry: Registry, runs: int) -> list[float]:
    """Return the seconds from a new kernelspec to the first request at the registry, several times."""
    containerd, gateway = Containerd(folder, program=program), KernelspecsServer()
    proxy = FaultyRegistry(registry.address, host="127.0.0.1")
    found = []
    environment = {"KIP_CRI_ENDPOINT": containerd.endpoint, "KIP_GATEWAY_HOST": gateway.url, "KIP_INTERVAL": str(INTERVAL)}
    with PullerProcess(folder / "puller.log", **environment) as puller:
        wait_until(puller.ready, seconds=20, what="ready")
        for number in range(runs):
            push_image(registry.address, f"bench/new{number}", "1")
            # At another moment of the interval each time.
            time.sleep(INTERVAL * (1 + number / runs))
            proxy.forget()
            appeared = time.monotonic()
            gateway.set_images({f"spec{number}": f"127.0.0.1:{proxy.port}/bench/new{number}:1"})
            wait_until(lambda: proxy.requests, seconds=30, what="a request at the registry")
            found.append(proxy.requests[0][0] - appeared)
    for close in (proxy.close, gateway.close, containerd.close):
        close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    program = shutil.which("containerd") or "containerd"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        registry = Registry(folder / "registry")
        names = [f"{registry.address}/bench/large{number}:1" for number in range(IMAGES)]
        for number in range(IMAGES):
            push_image(registry.address, f"bench/large{number}", "1", size=SIZE)
        peer, ours = [], []
        for run in range(runs):
            peer.append(by_ctr(folder / f"ctr{run}", program, names))
            ours.append(by_puller(folder / f"puller{run}", program, names))
            print(f"run {run + 1}: ctr {peer[-1]:.2f} s, puller {ours[-1]:.2f} s (with its start)")
        ratio = statistics.median(ours) / statistics.median(peer)
        print(
            f"median: ctr {statistics.median(peer):.2f} s, puller {statistics.median(ours):.2f} s, ratio {ratio:.2f}  (bound 1.1)"
        )
        times = first_byte(folder / "first", program, registry, 5)
        print(f"first byte after: {', '.join(f'{seconds:.2f}' for seconds in times)} s  (bound {INTERVAL + 1:.0f} s)")
        registry.close()


if __name__ == "__main__":
    main()
