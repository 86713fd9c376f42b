"""An installation whose kernels share a namespace, where pods wait for them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.installation import NAME, Cluster, Installation, require_cluster
from tests.support.waiting import wait_until

from enterprise_gateway_common import labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.servers import Server


class Pool:
    """The pods in waiting of one installation, as the cluster knows them."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.namespace = namespace
        self._cluster = cluster

    def pods(self, component: str = labels.COMPONENT_POOL) -> list[dict[str, Any]]:
        """Return the pods that wait, or those of kernels; not those that go."""
        text = self._cluster.kubectl("get", "pods", "-n", self.namespace, "-l", f"component={component}", "-o", "json")
        return [pod for pod in json.loads(text)["items"] if "deletionTimestamp" not in pod["metadata"]]

    def ready(self) -> list[str]:
        """Return the names of those that can be claimed."""
        return [
            pod["metadata"]["name"]
            for pod in self.pods()
            if labels.POOL_READY_ANNOTATION in pod["metadata"].get("annotations", {})
        ]

    def wait(self, count: int, *, seconds: float = 60) -> list[str]:
        """Return the names of pods in waiting when there are so many, and no others on their way."""
        wait_until(lambda: len(self.ready()) == len(self.pods()) == count, timeout=seconds)
        return self.ready()


@pytest.fixture
def cluster() -> Cluster:
    require_cluster()
    return Cluster()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    cluster.kubectl("create", "namespace", cluster.instance)
    yield cluster.instance
    cluster.kubectl("delete", "namespace", cluster.instance, "--wait=false")


@pytest.fixture
def pool(cluster: Cluster, namespace: str) -> Pool:
    return Pool(cluster, namespace)


@pytest.fixture
def installation(tmp_path: Path, cluster: Cluster, namespace: str) -> Iterator[Installation]:
    installation = Installation(folder=tmp_path, cluster=cluster)
    yield installation
    installation.close()


@pytest.fixture
def gateway(installation: Installation, namespace: str) -> Callable[..., Server]:
    """Return a function that starts a gateway with a pool."""

    def start(pools: str = f"{NAME}=2", **settings: str) -> Server:
        return installation.gateway(KERNEL_NAMESPACES=namespace, WARM_POOLS=pools, **settings).start()

    return start
