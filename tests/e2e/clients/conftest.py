"""Who uses kernels in pods: a Jupyter Server by itself, and JupyterLab through a gateway outside of the cluster or in it.

Any cluster does that KUBECONFIG names. Its nodes must find the images that the chart's tests need, and this machine must
reach the nodes' ports and the pods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.installation import Cluster, Installation, require_cluster
from tests.support.release import InstalledGateway, Release
from tests.support.servers import Server, Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """What a user has on the own machine: no kernelspec at all."""
    return Workspace(root=tmp_path_factory.mktemp("user"))


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    require_cluster()
    made = Installation(folder=tmp_path_factory.mktemp("installation"), cluster=Cluster())
    yield made
    made.close()


@pytest.fixture(scope="module", params=["outside", "inside"])
def gateway(request: pytest.FixtureRequest, installation: Installation) -> Iterator[Server | InstalledGateway]:
    """A gateway beside the cluster, and one that the chart installed into it."""
    if request.param == "outside":
        yield installation.gateway().start()
        return
    with Release() as release:
        release.install()
        yield release.gateway()
