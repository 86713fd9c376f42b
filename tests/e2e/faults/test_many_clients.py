"""Very many clients at once, before gateways that the chart installed with its own probes."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.crowd import Crowd
from tests.support.installation import require_cluster
from tests.support.release import Release, listed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

_KERNELS = 20
_WEBSOCKETS = int(os.environ.get("EG_E2E_WEBSOCKETS", "1000"))
_LONGEST_SECONDS = 600.0


def test_a_thousand_clients_at_once_of_two_replicas_are_all_served_and_no_replica_is_restarted() -> None:
    require_cluster()
    with Release() as release:
        release.install(deployment={"replicas": 2})
        gateway = release.gateway()
        with ThreadPoolExecutor(4) as pool:
            kernels = list(pool.map(lambda _: gateway.start_kernel(), range(_KERNELS)))
        crowd = Crowd(url=gateway.url, headers=gateway.headers)
        asyncio.run(crowd.connect(kernels, _WEBSOCKETS, within=_LONGEST_SECONDS))
        pods = listed("pods", "-n", release.namespace, "-l", "component=enterprise-gateway")
        assert [status["restartCount"] for pod in pods for status in pod["status"]["containerStatuses"]] == [0, 0]
        assert crowd.statuses.count("closed") == 0
