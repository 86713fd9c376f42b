"""Five images on two nodes of a real cluster, and pods that start from them without any registry."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from puller_cluster import kernel_pod
from puller_support import LOGIN, push_image, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from puller_cluster import Kubectl
    from puller_support import PullerProcess, Registry

pytestmark = [pytest.mark.cluster, pytest.mark.containerd, pytest.mark.timeout(240)]

NAMESPACE = "kip-e2e-nodes"


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    kubectl("create", "namespace", NAMESPACE)
    yield NAMESPACE
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_the_state_after_the_first_round_is_exact_on_both_nodes(
    kubectl: Kubectl,
    namespace: str,
    node_sockets: list[str],
    cluster_registry: str,
    private_host: str,
    private_registry: Registry,
    start_puller: Callable[..., PullerProcess],
    write_login: Callable[..., Path],
) -> None:
    mark = os.urandom(4).hex()
    push_image(private_registry.address, f"kip-e2e/private-{mark}", "1", auth=LOGIN)
    digest = push_image(cluster_registry, f"kip-e2e/digest-{mark}", "1").digest
    push_image(cluster_registry, f"kip-e2e/moving-{mark}", "latest", content="one")
    private = f"{private_host}/kip-e2e/private-{mark}:1"
    by_digest = f"docker.io/kip-e2e/digest-{mark}@{digest}"
    moving = f"docker.io/kip-e2e/moving-{mark}:latest"
    missing = f"docker.io/kip-e2e/missing-{mark}:1"
    images = f"{private},{missing},Kip-E2E/Wrong:1,{by_digest},{moving}"
    secrets = write_login(private_host)
    pullers = [
        start_puller(
            KIP_CRI_ENDPOINT=f"unix://{socket.removeprefix('unix://')}",
            KIP_IMAGES=images,
            KIP_PULL_SECRETS=str(secrets),
            KIP_PULL_POLICY="Always",
            KIP_INTERVAL="2",
        )
        for socket in node_sockets
    ]
    for puller in pullers:
        wait_until(puller.ready, seconds=30, what=f"ready: {puller.text()}")
        states = {name: (status["state"], status["reason"]) for name, status in puller.images().items()}
        assert states == {
            private: ("present", ""),
            by_digest: ("present", ""),
            moving: ("present", ""),
            missing: ("failed", "permanent"),
        }
        assert [entry["image"] for entry in puller.status()["rejected"]] == ["Kip-E2E/Wrong:1"]
    nodes = kubectl.nodes()[:2]
    pods = {
        f"{node}-{number}": kernel_pod(f"{node}-{number}", image, node)
        for node in nodes
        for number, image in enumerate((private, by_digest, moving))
    }
    for pod in pods.values():
        kubectl("-n", namespace, "apply", "-f", "-", text=json.dumps(pod))

    def phases() -> dict[str, str]:
        items = json.loads(kubectl("-n", namespace, "get", "pods", "-o", "json"))["items"]
        return {item["metadata"]["name"]: item["status"].get("phase", "") for item in items}

    wait_until(
        lambda: set(phases().values()) == {"Succeeded"} and len(phases()) == len(pods),
        seconds=60,
        what=f"every pod ran: {phases()}",
    )
    second = push_image(cluster_registry, f"kip-e2e/moving-{mark}", "latest", content="two")
    for puller, socket in zip(pullers, node_sockets, strict=True):
        wait_until(lambda at=socket: second.digest in _listed(at, moving), seconds=20, what="the tag has moved")
        assert puller.stop() < 1.0


def _listed(socket: str, image: str) -> str:
    command = ["ctr", "-a", socket.removeprefix("unix://"), "-n", "k8s.io", "images", "ls", f"name=={image}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
