"""Kernels of every language in pods, as their kernelspecs are delivered; the nodes must find their images."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.support.installation import Cluster, Installation, require_cluster
from tests.support.kernel_socket import KernelSocket
from tests.support.languages import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.languages import Language
    from tests.support.servers import Server

# Those whose images are small enough for every run; E2E_LANGUAGES names others, or "all".
_ALWAYS = ("R", "scala")


def _chosen() -> list[str]:
    asked = os.environ.get("E2E_LANGUAGES", "")
    return list(LANGUAGES) if asked == "all" else [name for name in asked.split(",") if name in LANGUAGES] or list(_ALWAYS)


@pytest.fixture(scope="session")
def spark() -> None:
    """Skip where this run is without Spark's image, which has a gigabyte."""
    asked = os.environ.get("E2E_LANGUAGES", "")
    if asked != "all" and "spark" not in asked.split(","):
        pytest.skip("this run is without Spark: E2E_LANGUAGES=spark, or all")


@pytest.fixture(scope="module", params=_chosen())
def language(request: pytest.FixtureRequest) -> Language:
    return LANGUAGES[request.param]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    require_cluster()
    made = Installation(folder=tmp_path_factory.mktemp("languages"), cluster=Cluster())
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(installation: Installation, language: Language) -> Server:
    """A gateway that offers the language's kernelspec."""
    installation.deliver(language.kernelspec)
    return installation.gateway().start()


@pytest.fixture(scope="module")
def shared_kernel(server: Server, language: Language) -> Iterator[str]:
    """A kernel for tests that leave it as it was."""
    kernel_id = server.start_kernel(language.kernelspec)
    yield kernel_id
    server.stop_kernel(kernel_id)


@pytest.fixture
def client(server: Server, shared_kernel: str) -> Iterator[KernelSocket]:
    with KernelSocket(server, shared_kernel) as opened:
        yield opened


@pytest.fixture
def own_kernel(server: Server, language: Language) -> Iterator[Callable[[], str]]:
    """Return a function that starts a kernel for one test alone."""
    started = []

    def start() -> str:
        started.append(server.start_kernel(language.kernelspec))
        return started[-1]

    yield start
    for kernel_id in started:
        if kernel_id in server.kernel_ids():
            server.stop_kernel(kernel_id)
