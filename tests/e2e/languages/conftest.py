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

# In every run: those whose images are small and whose tests are quick. E2E_LANGUAGES names others ("TensorFlow", "spark",
# "spark-dialects": Spark from Scala and R), or "all".
_ALWAYS = ("R", "scala")


def _asked() -> list[str]:
    asked = os.environ.get("E2E_LANGUAGES", "")
    return (
        [*LANGUAGES, "spark", "spark-dialects"]
        if asked == "all"
        else [name for name in asked.split(",") if name] or list(_ALWAYS)
    )


def _chosen() -> list[str]:
    return [name for name in _asked() if name in LANGUAGES]


@pytest.fixture(scope="session")
def spark() -> None:
    """Skip where this run is without Spark."""
    if "spark" not in _asked():
        pytest.skip("this run is without Spark: E2E_LANGUAGES=spark, or all")


@pytest.fixture(scope="session")
def spark_dialects() -> None:
    """Skip where this run is without Spark from Scala and R."""
    if "spark-dialects" not in _asked():
        pytest.skip("this run is without Spark from Scala and R: E2E_LANGUAGES=spark-dialects, or all")


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
