"""The manifests of deploy/kubernetes as an operator applies them, with the puller of this checkout."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from puller_support import LOGIN, KernelspecsServer, push_image, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from puller_cluster import Installation, Kubectl
    from puller_support import Registry

pytestmark = [pytest.mark.cluster, pytest.mark.docker, pytest.mark.timeout(300)]

TAINT = "kip-e2e.example.org/images-not-ready"
KUBELET, SOCKET = "kernel-image-puller.yaml", "kernel-image-puller-socket.yaml"
QUICK = {"KIP_INTERVAL": "5", "KIP_RETRY_WAIT": "0.5", "KIP_RETRY_MAX_WAIT": "2"}


@pytest.fixture(params=[KUBELET, SOCKET], ids=["kubelet", "socket"])
def manifest(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


def test_every_node_has_the_images_and_says_so(
    kubectl: Kubectl, cluster_registry: str, installation: Installation, manifest: str
) -> None:
    mark = os.urandom(4).hex()
    push_image(cluster_registry, f"kip-e2e/wanted-{mark}", "1")
    # Pods say it as the list does, and a kubelet minds.
    written = f"kip-e2e/wanted-{mark}:1"
    wanted, missing = f"docker.io/{written}", f"docker.io/kip-e2e/missing-{mark}:1"
    nodes = kubectl.nodes()
    kubectl("taint", "node", nodes[0], f"{TAINT}=true:PreferNoSchedule", "--overwrite")
    installation.apply(
        manifest, KIP_IMAGE_FETCHER="StaticListFetcher", KIP_IMAGES=f"{written},{missing}", KIP_STARTUP_TAINT=TAINT, **QUICK
    )
    installation.wait_until_ready(nodes)
    installation.wait_until_told({node: {wanted: "present", missing: "failed"} for node in nodes}, seconds=20)

    def told_by_events() -> set[tuple[str, bool]]:
        events = kubectl.json("-n", installation.namespace, "get", "events", "--field-selector", "reason=ImageNotPulled")["items"]
        return {(event["involvedObject"]["name"], missing in event["message"]) for event in events}

    expected = {(pod["metadata"]["name"], True) for pod in installation.pods().values()}
    wait_until(lambda: told_by_events() == expected, seconds=10, what="an event for each puller's pod")
    wait_until(
        lambda: TAINT not in kubectl("get", "node", nodes[0], "-o", "jsonpath={.spec.taints}"),
        seconds=10,
        what="the taint is gone",
    )
    for node in nodes:
        installation.start_without_registry(f"kernel-on-{node}", written, node)
    for node in nodes:
        installation.wait_for_pod(f"kernel-on-{node}")


def test_a_private_image_comes_with_the_pull_secret_and_belongs_to_whom_the_readme_says(
    kubectl: Kubectl, private_registry: Registry, private_host: str, installation: Installation, manifest: str
) -> None:
    repository = f"kip-e2e/private-{os.urandom(4).hex()}"
    push_image(private_registry.address, repository, "1", auth=LOGIN)
    image = f"{private_host}/{repository}:1"
    nodes = kubectl.nodes()
    kubectl("create", "namespace", installation.namespace)
    if manifest == SOCKET:
        _create_pull_secret(installation, private_host)
    installation.apply(manifest, KIP_IMAGE_FETCHER="StaticListFetcher", KIP_IMAGES=image, **QUICK)
    if manifest == KUBELET:
        installation.wait_until_told({node: {image: "failed"} for node in nodes}, seconds=120)
        assert {status["reason"] for status in installation.status(nodes[0])["images"]} == {"authentication"}
        _create_pull_secret(installation, private_host)
        patch = '{"imagePullSecrets": [{"name": "registry-credentials"}]}'
        installation.run("patch", "serviceaccount", "kernel-image-puller-sa", "-p", patch)
    installation.wait_until_told({node: {image: "present"} for node in nodes}, seconds=120)
    assert LOGIN[1] not in installation.run("logs", "-l", "enterprise-gateway.jupyter.org/role=puller", "--tail=-1")
    installation.start_without_registry("with-secret", image, nodes[0], pull_secret="registry-credentials")
    installation.wait_for_pod("with-secret")
    installation.start_without_registry("without-secret", image, nodes[0])
    if manifest == SOCKET:
        # Preloaded, as Kubernetes sees it: every pod of the node may use it.
        installation.wait_for_pod("without-secret")
        return
    reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
    wait_until(
        lambda: installation.run("get", "pod", "without-secret", "-o", reason) == "ErrImageNeverPull",
        seconds=30,
        what="a pod without the pull secret is refused",
    )


def _create_pull_secret(installation: Installation, host: str) -> None:
    login = (f"--docker-server={host}", f"--docker-username={LOGIN[0]}", f"--docker-password={LOGIN[1]}")
    installation.run("create", "secret", "docker-registry", "registry-credentials", *login)


@pytest.fixture
def gateway_of_the_nodes(host_address: str) -> Iterator[KernelspecsServer]:
    server = KernelspecsServer(token="t0k3n")
    server.url = f"http://{host_address}:{server.port}"
    yield server
    server.close()


def test_a_gateway_a_config_map_and_a_list_are_taken_together(
    kubectl: Kubectl, cluster_registry: str, installation: Installation, gateway_of_the_nodes: KernelspecsServer
) -> None:
    mark = os.urandom(4).hex()
    names = {source: f"docker.io/kip-e2e/{source}-{mark}:1" for source in ("spec", "map", "list", "elsewhere", "executor")}
    for source in names:
        push_image(cluster_registry, f"kip-e2e/{source}-{mark}", "1")
    nodes = kubectl.nodes()
    selector = {"kubernetes.io/hostname": nodes[-1]}
    gateway_of_the_nodes.set_images(
        {
            "py": {"image_name": names["spec"], "executor_image_name": names["executor"]},
            "gpu": {"image_name": names["elsewhere"], "node_selector": selector},
            "broken": {"image_name": 7},
        }
    )
    kubectl("create", "namespace", installation.namespace)
    installation.run("create", "secret", "generic", "gateway-token", "--from-literal=token=t0k3n")
    installation.run("create", "configmap", "kernel-images", f"--from-literal=image-names=- {names['map']}")
    installation.run("create", "role", "images", "--verb=get", "--resource=configmaps")
    account = f"--serviceaccount={installation.namespace}:kernel-image-puller-sa"
    installation.run("create", "rolebinding", "images", "--role=images", account)
    installation.apply(
        KUBELET,
        KIP_IMAGE_FETCHER="CombinedImagesFetcher",
        KIP_INTERNAL_FETCHERS="KernelSpecsFetcher,ConfigMapImagesFetcher,StaticListFetcher",
        KIP_GATEWAY_HOST=gateway_of_the_nodes.url,
        KIP_CM_NAMESPACE=installation.namespace,
        KIP_IMAGES=names["list"],
        **QUICK,
    )
    installation.wait_until_ready(nodes)
    everywhere = {names[source]: "present" for source in ("spec", "executor", "map", "list")}
    expected = dict.fromkeys(nodes[:-1], everywhere) | {nodes[-1]: {**everywhere, names["elsewhere"]: "present"}}
    installation.wait_until_told(expected)
    status = installation.status(nodes[0])
    assert [entry["image"] for entry in status["elsewhere"]] == [names["elsewhere"]]
    assert any("broken" in problem for source in status["sources"] for problem in source["problems"])
