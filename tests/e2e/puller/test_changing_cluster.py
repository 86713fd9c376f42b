"""What happens to a cluster while pullers run in it: a runtime that restarts, a node that joins.

These tests stop and add parts of the cluster by the program that CLUSTER names.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from puller_support import push_image, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from puller_cluster import Installation, Kubectl

pytestmark = [
    pytest.mark.alone,
    pytest.mark.cluster,
    pytest.mark.docker,
    pytest.mark.containerd,
    pytest.mark.timeout(400),
]

ADDED = "kip-e2e.example.org/added"
QUICK = {"KIP_IMAGE_FETCHER": "StaticListFetcher", "KIP_INTERVAL": "5", "KIP_RETRY_WAIT": "0.5", "KIP_RETRY_MAX_WAIT": "2"}


@pytest.fixture
def cluster(cluster_program: str) -> Callable[..., str]:
    """Returns a function that calls the program of this cluster."""

    def call(*arguments: str) -> str:
        done = subprocess.run([cluster_program, *arguments], capture_output=True, text=True, check=False, timeout=180)
        assert done.returncode == 0, f"{arguments}: {done.stdout} {done.stderr}"
        return done.stdout.strip()

    return call


@pytest.fixture
def join(kubectl: Kubectl, cluster: Callable[..., str]) -> Callable[[], str]:
    """Returns what lets a node join: a new one, or the one that an earlier run has added, which leaves and comes back.

    The node stays; conftest.py lets the tests that use this come last.
    """

    def call() -> str:
        earlier = kubectl("get", "nodes", "-l", ADDED, "-o", "jsonpath={.items[*].metadata.name}").split()
        if earlier:
            node = earlier[0]
            cluster("stop", f"{node}-kubelet")
            wait_until(lambda: not _kubelet_answers(kubectl, node), seconds=30, what="its kubelet has ended")
            kubectl("delete", "node", node)
            cluster("start", f"{node}-kubelet")
        else:
            node = cluster("add-node").splitlines()[-1]
        wait_until(lambda: node in kubectl.nodes(), seconds=120, what=f"{node} has joined")
        kubectl("label", "node", node, f"{ADDED}=true", "--overwrite")
        return node

    return call


def _ctr(socket: str, *arguments: str) -> str:
    command = ["ctr", "-a", socket.removeprefix("unix://"), "-n", "k8s.io", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_runtime_that_restarts_under_a_pod_is_found_again_through_the_mounted_folder(
    kubectl: Kubectl,
    cluster: Callable[..., str],
    cluster_registry: str,
    node_sockets: list[str],
    installation: Installation,
) -> None:
    mark = os.urandom(4).hex()
    push_image(cluster_registry, f"kip-e2e/restart-{mark}", "1")
    image = f"docker.io/kip-e2e/restart-{mark}:1"
    # By the order of the sockets, which is that of the nodes.
    number, node = 1, kubectl.nodes()[1]
    installation.apply("kernel-image-puller-socket.yaml", KIP_IMAGES=image, **QUICK)
    installation.wait_until_ready(kubectl.nodes())
    installation.wait_until_told({node: {image: "present"}})
    before = installation.pods()[node]["status"]["containerStatuses"][0]["containerID"]
    cluster("stop", f"{node}-containerd")
    try:
        wait_until(lambda: installation.status(node)["runtime"]["error"], seconds=30, what="the runtime is away")
    finally:
        cluster("start", f"{node}-containerd")
    wait_until(lambda: not installation.status(node)["runtime"]["error"], seconds=30, what="the runtime is found again")
    socket = node_sockets[number]
    _ctr(socket, "images", "rm", "--sync", image)
    wait_until(lambda: image in _ctr(socket, "images", "ls", "-q").split(), seconds=30, what="what is removed comes back")
    wait_until(
        lambda: installation.pods()[node]["status"]["containerStatuses"][0]["containerID"] == before,
        seconds=30,
        what="the puller itself has not been restarted",
    )


def test_a_node_that_joins_has_the_images_without_anyone_acting(
    kubectl: Kubectl, join: Callable[[], str], cluster_registry: str, installation: Installation
) -> None:
    mark = os.urandom(4).hex()
    push_image(cluster_registry, f"kip-e2e/join-{mark}", "1")
    image = f"docker.io/kip-e2e/join-{mark}:1"
    before = kubectl.nodes()
    installation.apply("kernel-image-puller.yaml", KIP_IMAGES=image, **QUICK)
    installation.wait_until_ready(before)
    joined = join()
    installation.wait_until_ready([*before, joined], seconds=180)
    installation.wait_until_told({node: {image: "present"} for node in [*before, joined]})
    installation.start_without_registry("kernel", image, joined)
    installation.wait_for_pod("kernel")


def _kubelet_answers(kubectl: Kubectl, node: str) -> bool:
    command = [kubectl.program, "get", "--raw", f"/api/v1/nodes/{node}/proxy/healthz"]
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0
