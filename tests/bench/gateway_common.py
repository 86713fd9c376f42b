"""What the gateway's benchmarks share: both servers side by side, a direct client, and the table of a run.

Every benchmark takes its products in turns within one run and reports medians over the rounds, because two runs on a busy
machine can't be compared and two rounds of one run can.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import zmq
from jupyter_client import BlockingKernelClient, KernelManager
from tests.support.servers import Product, Server, Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jupyter_client.connect import ConnectionFileMixin

__all__ = ["Direct", "Table", "arguments", "median", "percentile", "servers"]

_TOKEN = "bench-token"


def arguments(description: str) -> argparse.Namespace:
    """Parse the command line that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds: to see that it works, not to quote")
    return parser.parse_args()


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@contextlib.contextmanager
def servers(*products: Product, **options: object) -> Iterator[list[Server]]:
    """Start servers with the same kernelspec and the same environment, and stop them again."""
    root = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        started = []
        for product in products:
            folder = root / product
            folder.mkdir()
            server = Server(product=product, workspace=Workspace(root=folder), token=_TOKEN, **options)
            server.start()
            stack.callback(server.stop)
            started.append(server)
        yield started


class Direct:
    """Bare ZMQ sockets to a kernel, with its keys: what no gateway can be faster than."""

    def __init__(self, client: ConnectionFileMixin) -> None:
        self._client = client

    def __enter__(self) -> Self:
        self.session = self._client.session
        self.shell = self._client.connect_shell()
        self.iopub = self._client.connect_iopub()
        self.iopub.setsockopt(zmq.RCVHWM, 0)
        self.poller = zmq.Poller()
        self.poller.register(self.shell, zmq.POLLIN)
        self.poller.register(self.iopub, zmq.POLLIN)
        # The subscription takes a moment to reach the kernel; only then nothing is missed.
        while not self._answers():
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.shell.close(0)
        self.iopub.close(0)

    @classmethod
    def to_kernel_of(cls, server: Server, kernel_id: str) -> Self:
        """Reach a server's kernel past the server."""
        client = BlockingKernelClient(connection_file=str(server.workspace.root / f"home/runtime/kernel-{kernel_id}.json"))
        client.load_connection_file()
        return cls(client)

    @classmethod
    @contextlib.contextmanager
    def to_own_kernel(cls) -> Iterator[Self]:
        """Start a kernel that no server knows, which isn't encrypted, and reach it."""
        manager = KernelManager(kernel_name="python3")
        # The same quiet environment as a server's kernels have.
        manager.start_kernel(env={"PATH": os.environ["PATH"], "HOME": tempfile.gettempdir()})
        try:
            with cls(manager) as direct:
                yield direct
        finally:
            manager.shutdown_kernel(now=True)

    def _answers(self) -> bool:
        message = self._send("pass")
        deadline = time.monotonic() + 1
        idle = False
        while time.monotonic() < deadline and not idle:
            for socket, _ in self.poller.poll(100):
                frames = socket.recv_multipart()
                idle |= socket is self.iopub and message in b"".join(frames) and b'"idle"' in frames[-1]
        return idle

    def _send(self, code: str) -> bytes:
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False, "user_expressions": {}}
        message = self.session.msg("execute_request", content)
        self.session.send(self.shell, message)
        return str(message["header"]["msg_id"]).encode()

    def run(self, code: str) -> float:
        """Execute code and return the seconds until both its reply and its idle status are here."""
        return self.drain(code)[0]

    def drain(self, code: str) -> tuple[float, int]:
        """Execute code; return seconds and bytes of the messages up to its reply and its idle status."""
        begun = time.perf_counter()
        mark = self._send(code)
        replied = idle = False
        count = 0
        while not (replied and idle):
            for socket, _ in self.poller.poll():
                frames = socket.recv_multipart()
                count += sum(map(len, frames))
                # A message's parts from its end: content, metadata, parent header, header.
                if mark in frames[-3]:
                    replied |= socket is self.shell and b'"execute_reply"' in frames[-4]
                    idle |= socket is self.iopub and b'"idle"' in frames[-1]
        return time.perf_counter() - begun, count


@dataclass(kw_only=True)
class Table:
    """Rows of one run, printed as Markdown so that they go into docs/performance.md as they are."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """Add a row."""
        self.rows.append([str(cell) for cell in cells])

    def print(self) -> None:
        """Print it with the machine it was measured on."""
        print(f"\n### {self.title}")
        print(
            f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}\n"
        )
        print("| " + " | ".join(self.columns) + " |")
        print("|" + "---|" * len(self.columns))
        for row in self.rows:
            print("| " + " | ".join(row) + " |")
