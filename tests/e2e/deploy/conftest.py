"""The chart and the static manifest on any cluster that KUBECONFIG names.

Its nodes must find the images EG_E2E_GATEWAY_IMAGE and EG_E2E_PULLER_IMAGE (defaults elyra/enterprise-gateway:dev and
elyra/kernel-image-puller:dev) and elyra/kernel-py:dev, and this machine must reach the nodes' ports. Tests of the images
themselves need a Docker engine that has them, and the base image (BASE_IMAGE) below them.
"""

from __future__ import annotations

import os

import pytest
from tests.support.installation import require_cluster


@pytest.fixture(autouse=True)
def _cluster(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("cluster"):
        require_cluster()


@pytest.fixture
def cluster_registry() -> str:
    """Return the registry in which the cluster's nodes look up every image first."""
    if registry := os.environ.get("REGISTRY"):
        return registry
    reason = "REGISTRY doesn't name the registry that the cluster's nodes pull from"
    if os.environ.get("REQUIRE_E2E") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
