"""The chart and the static manifest on any cluster that KUBECONFIG names.

Its nodes must find the images EG_E2E_GATEWAY_IMAGE and EG_E2E_PULLER_IMAGE (defaults elyra/enterprise-gateway:dev and
elyra/kernel-image-puller:dev) and elyra/kernel-py:dev, and this machine must reach the nodes' ports.
"""

from __future__ import annotations

import pytest
from tests.support.installation import require_cluster


@pytest.fixture(autouse=True)
def _cluster() -> None:
    require_cluster()
