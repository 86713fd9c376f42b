"""Pulling by a kubelet: where there are no image volumes, and from a registry with trouble."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from puller_support import Fault, push_image, wait_until

from enterprise_gateway_common.image_reference import parse_image_reference
from kernel_image_puller.clock import SystemClock
from kernel_image_puller.errors import PermanentPullError
from kernel_image_puller.kubernetes_api import KubernetesApi
from kernel_image_puller.runtimes.kubelet import KubeletRuntime
from kernel_image_puller.runtimes.protocol import PullOrder
from kernel_image_puller.wanted import PullPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from puller_cluster import Installation, Kubectl
    from puller_support import FaultyRegistry, Registry

pytestmark = [pytest.mark.cluster, pytest.mark.docker, pytest.mark.timeout(240)]


class _OlderApi(KubernetesApi):
    """An API server that doesn't know image volumes: it drops that part of a pod, as servers do with unknown fields."""

    created: list[dict[str, Any]]

    def create_pod(self, namespace: str, pod: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        answer = super().create_pod(namespace, pod, dry_run=dry_run)
        if dry_run:
            answer["spec"]["volumes"] = [volume for volume in answer["spec"]["volumes"] if "image" not in volume]
        else:
            self.created.append(pod)
        return answer


@pytest.fixture
def older_api(kubectl: Kubectl, installation: Installation, tmp_path: Path) -> Iterator[_OlderApi]:
    """The cluster's API server for the puller's service account."""
    installation.apply("kernel-image-puller.yaml", KIP_IMAGE_FETCHER="StaticListFetcher", KIP_IMAGES="")
    installation.wait_until_ready(kubectl.nodes())
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text(installation.run("create", "token", "kernel-image-puller-sa"), encoding="utf-8")
    cluster = kubectl.json("config", "view", "--raw", "--minify")["clusters"][0]["cluster"]
    if "certificate-authority-data" in cluster:
        authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    else:
        authority = Path(cluster["certificate-authority"])
    api = _OlderApi(url=cluster["server"], token_file=token, ca_file=authority)
    api.created = []
    yield api
    api.close()


def test_without_image_volumes_an_image_that_has_no_shell_is_started_with_a_program_that_does_nothing(
    kubectl: Kubectl, installation: Installation, cluster_registry: str, older_api: _OlderApi
) -> None:
    repository = f"kip-e2e/noop-{os.urandom(4).hex()}"
    push_image(cluster_registry, repository, "1")
    node = kubectl.nodes()[-1]
    runtime = KubeletRuntime(
        api=older_api,
        node=node,
        namespace=installation.namespace,
        own_pod=installation.pods()[node]["metadata"]["name"],
        image="",
        clock=SystemClock(),
    )
    runtime.pull(_order(f"{repository}:1"))
    assert [container["command"] for pod in older_api.created for container in pod["spec"]["containers"]] == [["/kip-tools/noop"]]
    names = {name for image in runtime.images() for name in image.names}
    assert f"docker.io/{repository}:1" in names
    with pytest.raises(PermanentPullError):
        runtime.pull(_order(f"{repository}-missing:1"))
    installation.start_without_registry("kernel", f"{repository}:1", node)
    installation.wait_for_pod("kernel")
    left = kubectl.json("-n", installation.namespace, "get", "pods", "-l", "enterprise-gateway.jupyter.org/role=image-pull")[
        "items"
    ]
    assert [pod["metadata"]["name"] for pod in left if "deletionTimestamp" not in pod["metadata"]] == []


def test_a_registry_with_trouble_is_left_alone_and_found_again(
    kubectl: Kubectl,
    installation: Installation,
    registry: Registry,
    faulty: FaultyRegistry,
    let_nodes_reach: Callable[[int], str],
) -> None:
    push_image(registry.address, "kip-e2e/trouble", "1")
    image = f"{let_nodes_reach(faulty.port)}/kip-e2e/trouble:1"
    faulty.fault = lambda _method, path: Fault(status=500) if "/manifests/" in path else None
    installation.apply(
        "kernel-image-puller.yaml",
        KIP_IMAGE_FETCHER="StaticListFetcher",
        KIP_IMAGES=image,
        KIP_INTERVAL="5",
        KIP_NUM_RETRIES="100",
        KIP_RETRY_WAIT="1",
        KIP_RETRY_MAX_WAIT="4",
    )
    nodes = kubectl.nodes()

    wait_until(lambda: all(installation.told().get(node) for node in nodes), seconds=90, what="every puller tells of it")

    def reasons() -> set[str]:
        return {status["reason"] for node in nodes for status in installation.status(node)["images"]}

    wait_until(lambda: reasons() == {"registry"}, seconds=60, what="every puller knows that it is the registry")
    faulty.forget()
    time.sleep(10)
    # A try every five seconds or so on each node; the runtime asks some times for each.
    assert faulty.count("/manifests/") <= 40 * len(nodes)
    faulty.fault = lambda _method, _path: None
    installation.wait_until_told({node: {image: "present"} for node in nodes})


def test_a_puller_that_ends_takes_its_pulls_along(
    kubectl: Kubectl,
    installation: Installation,
    registry: Registry,
    faulty: FaultyRegistry,
    let_nodes_reach: Callable[[int], str],
) -> None:
    push_image(registry.address, "kip-e2e/slow", "1", size=2_000_000)
    image = f"{let_nodes_reach(faulty.port)}/kip-e2e/slow:1"
    faulty.fault = lambda _method, path: Fault(bytes_per_second=10_000) if "/blobs/" in path else None
    installation.apply("kernel-image-puller.yaml", KIP_IMAGE_FETCHER="StaticListFetcher", KIP_IMAGES=image)
    wait_until(lambda: len(_pull_pods(installation)) == len(kubectl.nodes()), seconds=90, what="every node pulls")
    installation.run("delete", "daemonset", "kernel-image-puller")
    wait_until(lambda: _pull_pods(installation) == [], seconds=30, what="the pods that pull are gone")


def test_two_installations_in_one_namespace_pull_the_same_image_side_by_side(
    kubectl: Kubectl,
    installation: Installation,
    registry: Registry,
    faulty: FaultyRegistry,
    let_nodes_reach: Callable[[int], str],
) -> None:
    repository = f"kip-e2e/both-{os.urandom(4).hex()}"
    push_image(registry.address, repository, "1", size=400_000)
    image = f"{let_nodes_reach(faulty.port)}/{repository}:1"
    faulty.fault = lambda _method, path: Fault(bytes_per_second=10_000) if "/blobs/" in path else None
    installation.apply(
        "kernel-image-puller.yaml",
        only_on=kubectl.nodes()[-1],
        KIP_IMAGE_FETCHER="StaticListFetcher",
        KIP_IMAGES=image,
        KIP_INTERVAL="1",
    )
    wait_until(lambda: len(_pull_pods(installation)) == 1, seconds=60, what="the first one pulls")
    second = kubectl.json("-n", installation.namespace, "get", "daemonset", "kernel-image-puller")
    second["metadata"] = {"name": "second", "namespace": installation.namespace}
    labels = {"app.kubernetes.io/instance": "second", "enterprise-gateway.jupyter.org/role": "second-puller"}
    second["spec"]["selector"]["matchLabels"] = second["spec"]["template"]["metadata"]["labels"] = labels
    installation.run("apply", "-f", "-", text=json.dumps(second))
    wait_until(lambda: len(_pull_pods(installation)) == 2, seconds=60, what="both pull")
    both = _pull_pods(installation)
    time.sleep(8)
    assert _pull_pods(installation) == both, "neither removes the other's pod"
    installation.run("rollout", "status", "daemonset/second", "--timeout=90s")
    installation.wait_until_told({kubectl.nodes()[-1]: {image: "present"}})


def _pull_pods(installation: Installation) -> list[str]:
    selector = "enterprise-gateway.jupyter.org/role=image-pull"
    items = installation.kubectl.json("-n", installation.namespace, "get", "pods", "-l", selector)["items"]
    return [pod["metadata"]["name"] for pod in items if "deletionTimestamp" not in pod["metadata"]]


def _order(name: str) -> PullOrder:
    return PullOrder(
        reference=parse_image_reference(name), policy=PullPolicy.IF_NOT_PRESENT, credential=None, timeout=90, written=(name,)
    )
