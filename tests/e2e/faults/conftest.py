"""Faults of a cluster, of its nodes and of the gateway, with everything around them real.

Any cluster does that KUBECONFIG names and whose nodes find the image EG_E2E_KERNEL_IMAGE (default elyra/kernel-py:dev).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.api_proxy import ApiProxy
from tests.support.installation import Cluster, Installation, require_cluster
from tests.support.tls import make_tls_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "the-first-token"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("installation")


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    require_cluster()
    return Cluster()


@pytest.fixture(scope="module")
def installation(folder: Path, cluster: Cluster) -> Iterator[Installation]:
    made = Installation(folder=folder, cluster=cluster)
    yield made
    made.close()


@pytest.fixture(scope="module")
def token_file(folder: Path) -> Path:
    path = folder / "token"
    path.write_text(TOKEN)
    return path


@pytest.fixture(scope="module")
def running_proxy(folder: Path) -> Iterator[ApiProxy]:
    require_cluster()
    with ApiProxy(tls=make_tls_files(folder), tokens={TOKEN}) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def kubeconfig(running_proxy: ApiProxy, folder: Path, token_file: Path) -> Path:
    """The kubeconfig of a program whose API server is the proxy."""
    return running_proxy.write_kubeconfig(folder / "kubeconfig", token_file)


@pytest.fixture
def proxy(running_proxy: ApiProxy) -> Iterator[ApiProxy]:
    """The proxy without a fault; those of a test end with it."""
    yield running_proxy
    running_proxy.heal()
