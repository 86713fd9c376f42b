"""One server under test for the whole folder, and kernels that are ready before the first test asks.

`GATEWAY_UNDER_TEST=kernel-gateway` runs the same tests against the peer, which shows what both products do; tests of what
only ours promises are skipped then.
"""

from __future__ import annotations

import contextlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# The support folder is shared with the benchmarks, so it lies beside this folder and not in it.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.kernel_socket import PROTOCOLS, KernelSocket
from tests.support.servers import Product, Server, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "integration-token"

# Waits for the file that KERNEL_GATE names before it becomes a kernel: a slow start that a test ends when it likes.
_GATED = """
import os, runpy, sys, time
while not os.path.exists(os.environ["KERNEL_GATE"]):
    time.sleep(0.02)
sys.argv = ["ipykernel_launcher", "-f", sys.argv[1]]
runpy.run_module("ipykernel_launcher", run_name="__main__")
"""

# What stands in the kernel.json of `with-env`.
_ENV = {
    "FROM_SPEC": "spec",
    "SPEC_OF_USER": "of ${KERNEL_USERNAME}",
    "SPEC_OF_KERNEL": "${KERNEL_NAME} ${KERNEL_ID}",
}


@pytest.fixture(scope="session")
def product() -> Product:
    return Product(os.environ.get("GATEWAY_UNDER_TEST", Product.GATEWAY))


@pytest.fixture
def _ours(product: Product) -> None:
    if product is not Product.GATEWAY:
        pytest.skip("a promise of our gateway only")


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(root=tmp_path_factory.mktemp("gateway"))
    python = sys.executable
    workspace.add_kernelspec("gated", [python, "-c", _GATED, "{connection_file}"])
    workspace.add_kernelspec("failing", [python, "-c", "import sys; sys.exit('no licence for this kernel')"])
    workspace.add_kernelspec("missing", ["/nonexistent/interpreter", "{connection_file}"])
    workspace.add_kernelspec("mute", [python, "-c", "import time; time.sleep(600)"])
    ipykernel = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    workspace.add_kernelspec("by-message", ipykernel, interrupt_mode="message")
    workspace.add_kernelspec("with-env", ipykernel, env=_ENV)
    return workspace


@pytest.fixture(scope="session")
def server(product: Product, workspace: Workspace) -> Iterator[Server]:
    """The server that most tests share."""
    server = Server(product=product, workspace=workspace, token=TOKEN).start()
    yield server
    assert server.running, server.log[-4000:]
    server.stop()


@pytest.fixture
def own_server(product: Product, workspace: Workspace) -> Iterator[Callable[..., Server]]:
    """Start further servers, for tests that change or end them."""
    with contextlib.ExitStack() as stack:

        def start(**options: object) -> Server:
            server = Server(product=product, workspace=workspace, **({"token": TOKEN} | options))
            stack.callback(lambda: server.running and server.stop())
            return server.start()

        yield start


@pytest.fixture(scope="session")
def kernel_pool(server: Server) -> list[str]:
    """Two kernels that tests share which leave them as they were."""
    with ThreadPoolExecutor(2) as executor:
        return list(executor.map(lambda _: server.start_kernel(), range(2)))


@pytest.fixture(scope="session")
def kernel(kernel_pool: list[str]) -> str:
    """A running kernel that other tests use too."""
    return kernel_pool[0]


@pytest.fixture
def own_kernel(server: Server) -> Iterator[str]:
    """A kernel of this test's own."""
    kernel_id = server.start_kernel()
    yield kernel_id
    server.stop_kernel(kernel_id)


@pytest.fixture(params=PROTOCOLS, ids=["legacy", "v1"])
def protocol(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[..., KernelSocket]]:
    """Open websockets that are closed when the test ends."""
    with contextlib.ExitStack() as stack:

        def open_socket(kernel_id: str, **options: object) -> KernelSocket:
            on = options.pop("server", server)
            return stack.enter_context(KernelSocket(on, kernel_id, **options))

        yield open_socket
