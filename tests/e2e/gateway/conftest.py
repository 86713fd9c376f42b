"""The gateway as its users have it, with kernels in the pods of any cluster that KUBECONFIG names.

Its nodes must find the image EG_E2E_KERNEL_IMAGE (default elyra/kernel-py:dev). Without a cluster the tests are skipped;
with REQUIRE_E2E=1 they fail instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.installation import Cluster, Installation, require_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.servers import Server


@pytest.fixture
def cluster() -> Cluster:
    require_cluster()
    return Cluster()


@pytest.fixture
def installation(tmp_path: Path, cluster: Cluster) -> Iterator[Installation]:
    """The cluster's installation; what runs at the end is ended."""
    made = Installation(folder=tmp_path, cluster=cluster)
    yield made
    made.close()


@pytest.fixture
def gateway(installation: Installation) -> Callable[..., Server]:
    """Return a function that makes a gateway of the cluster's installation."""
    return installation.gateway
