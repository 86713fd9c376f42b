"""The gateway of this checkout and pullers in pods: each tells the other what it needs to know."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from puller_support import free_port, wait_until
from tests.support.servers import Product, Server, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from puller_cluster import Installation, Kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.docker, pytest.mark.timeout(300)]

NAME = "python_kubernetes"
KERNELSPECS = Path(__file__).resolve().parents[3] / "deploy" / "kernelspecs"
IMAGE_KEYS = {"image_name", "executor_image_name"}
TOKEN = "a-token-of-the-gateway"
MANIFEST_TYPES = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"


def _copy_image(registry: str, source: str, tag: str, target: str) -> None:
    """Give an image of a registry another name there, which no node has seen."""
    base = f"http://{registry}/v2"
    read = requests.get(f"{base}/{source}/manifests/{tag}", headers={"Accept": MANIFEST_TYPES}, timeout=30)
    read.raise_for_status()
    manifest = read.json()
    for blob in (manifest["config"], *manifest["layers"]):
        mounted = requests.post(f"{base}/{target}/blobs/uploads/", params={"mount": blob["digest"], "from": source}, timeout=60)
        assert mounted.status_code == requests.codes.created, mounted.text
    headers = {"Content-Type": manifest["mediaType"]}
    requests.put(f"{base}/{target}/manifests/{tag}", data=read.content, headers=headers, timeout=30).raise_for_status()


@pytest.fixture
def new_image(cluster_registry: str) -> Callable[[], str]:
    """Returns a function that gives a kernel image a name that no node knows yet, written as people write it."""
    source, _, tag = os.environ.get("EG_E2E_KERNEL_IMAGE", "elyra/kernel-py:dev").partition(":")

    def make() -> str:
        target = f"kip-e2e/kernel-{os.urandom(4).hex()}"
        _copy_image(cluster_registry, source, tag or "latest", target)
        return f"{target}:{tag or 'latest'}"

    return make


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A gateway's own folder, without a kernelspec."""
    return Workspace(root=tmp_path)


def _deliver(workspace: Workspace, folder: Path, new_image: Callable[[], str]) -> dict[str, Any]:
    """Offer a kernelspec with images that no node has; return its provisioner's config, with their names."""
    target = workspace.data / "kernels" / folder.name
    shutil.copytree(folder, target)
    spec = json.loads((target / "kernel.json").read_text(encoding="utf-8"))
    config = spec["metadata"]["kernel_provisioner"]["config"]
    config |= {key: new_image() for key in config.keys() & IMAGE_KEYS}
    (target / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    return dict(config)


@pytest.fixture
def gateway(kubectl: Kubectl, workspace: Workspace, installation: Installation) -> Iterator[Server]:
    """A gateway on this machine, which pods reach too, and which isn't started yet."""
    server = Server(
        product=Product.GATEWAY,
        workspace=workspace,
        token=TOKEN,
        port=free_port(),
        settings={
            "IP": "0.0.0.0",  # noqa: S104  the nodes reach it, with a token
            "INSTANCE": installation.namespace,
            "KERNEL_CLUSTER_ROLE": "",
            "KERNEL_LAUNCH_TIMEOUT": "60",
            "PULLER_NAMESPACES": installation.namespace,
        },
        environment={"KUBECONFIG": os.environ["KUBECONFIG"]},
    )
    yield server
    if server.running:
        server.stop()
    kubectl("delete", "namespaces", "-l", f"app.kubernetes.io/instance={installation.namespace}", "--wait=false")


def _pod_of(kubectl: Kubectl, kernel_id: str) -> dict[str, Any]:
    (pod,) = kubectl.json("get", "pods", "--all-namespaces", "-l", f"kernel_id={kernel_id}")["items"]
    return dict(pod)


def _install_pullers(
    installation: Installation, kubectl: Kubectl, gateway: Server, host_address: str, *, only_on: str = ""
) -> None:
    kubectl("create", "namespace", installation.namespace)
    installation.run("create", "secret", "generic", "gateway-token", f"--from-literal=token={TOKEN}")
    gateway_url = f"http://{host_address}:{gateway.port}"
    installation.apply("kernel-image-puller.yaml", only_on=only_on, KIP_GATEWAY_HOST=gateway_url, KIP_INTERVAL="5")
    installation.wait_until_ready([only_on] if only_on else kubectl.nodes())


def test_the_gateway_shows_where_an_image_is_and_starts_its_kernels_there_if_it_can(
    kubectl: Kubectl,
    host_address: str,
    workspace: Workspace,
    gateway: Server,
    installation: Installation,
    new_image: Callable[[], str],
) -> None:
    image = _deliver(workspace, KERNELSPECS / NAME, new_image)["image_name"]
    gateway.start()
    nodes = kubectl.nodes()
    warm = nodes[-1]
    assert len(nodes) > 1, "one node can't be preferred to another"
    _install_pullers(installation, kubectl, gateway, host_address, only_on=warm)

    def shown() -> dict[str, Any]:
        models: list[dict[str, Any]] = gateway.request("GET", "/api/images").json()["images"]
        return next(model for model in models if model["image"].endswith(image))

    expected = {"image": f"docker.io/{image}", "kernelspecs": [NAME], "nodes": {warm: "present"}}
    wait_until(lambda: shown() == expected, seconds=60, what="the gateway shows the image on its node")
    first = gateway.start_kernel(NAME)
    pod = _pod_of(kubectl, first)
    assert pod["spec"]["nodeName"] == warm
    wishes = pod["spec"]["affinity"]["nodeAffinity"]
    assert set(wishes) == {"preferredDuringSchedulingIgnoredDuringExecution"}, "it is a wish, no condition"

    others = [node for node in nodes if node != warm]
    kubectl("cordon", warm)
    try:
        second = gateway.start_kernel(NAME)
    finally:
        kubectl("uncordon", warm)
    assert _pod_of(kubectl, second)["spec"]["nodeName"] in others
    for kernel_id in (first, second):
        gateway.stop_kernel(kernel_id)


def test_every_node_has_the_images_of_all_kernelspecs_and_their_executors_before_the_first_start(
    kubectl: Kubectl,
    host_address: str,
    workspace: Workspace,
    gateway: Server,
    installation: Installation,
    new_image: Callable[[], str],
) -> None:
    nodes = dict.fromkeys(kubectl.nodes(), "present")
    expected: dict[str, tuple[str, dict[str, str]]] = {}
    for path in sorted(KERNELSPECS.glob("*/kernel.json")):
        config = _deliver(workspace, path.parent, new_image)
        # No node is labelled as one that has a GPU.
        wanted = {} if "node_selector" in config else nodes
        expected |= {f"docker.io/{config[key]}": (path.parent.name.lower(), wanted) for key in config.keys() & IMAGE_KEYS}
    assert len(expected) > len(list(KERNELSPECS.glob("*/kernel.json"))), "no kernelspec has an image for executors"
    gateway.start()
    _install_pullers(installation, kubectl, gateway, host_address)

    def shown() -> dict[str, tuple[str, dict[str, str]]]:
        models = gateway.request("GET", "/api/images").json()["images"]
        return {model["image"]: (",".join(model["kernelspecs"]), model["nodes"]) for model in models}

    wait_until(lambda: shown() == expected, seconds=120, what="every node has all images")
    assert gateway.kernel_ids() == set()
