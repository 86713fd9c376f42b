"""Several gateways of one installation, as processes outside of the cluster that KUBECONFIG names."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.support.installation import Cluster, Installation, require_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.servers import Server


def _until(check: Callable[[], object], seconds: float = 30) -> None:
    """Return when a check holds: what other processes do has no event that a test could wait for."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.1)


@pytest.fixture
def until() -> Callable[..., None]:
    return _until


@pytest.fixture
def cluster() -> Cluster:
    require_cluster()
    return Cluster()


@pytest.fixture
def installation(tmp_path: Path, cluster: Cluster) -> Iterator[Installation]:
    installation = Installation(folder=tmp_path, cluster=cluster)
    yield installation
    installation.close()
    cluster.kubectl("delete", "lease", "-n", "default", cluster.instance, "--ignore-not-found")


@pytest.fixture
def replicas(installation: Installation) -> Callable[..., tuple[Server, Server]]:
    """Return a function that starts two replicas."""

    def start(**settings: str) -> tuple[Server, Server]:
        one, other = installation.gateway(**settings), installation.gateway(**settings)
        one.launch()
        other.launch()
        return one.wait_ready(90), other.wait_ready(90)

    return start


@pytest.fixture
def leads() -> Callable[[Server], bool]:
    """Tell whether a replica acts for all."""

    def leads(server: Server) -> bool:
        return "enterprise_gateway_leader 1.0" in server.request("GET", "/metrics").text

    return leads
