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
    from collections.abc import Iterator

    from puller_cluster import Installation, Kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.docker, pytest.mark.timeout(300)]

NAME = "python_kubernetes"
KERNELSPEC = Path(__file__).resolve().parents[3] / "deploy" / "kernelspecs" / NAME
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
def image(cluster_registry: str) -> str:
    """Returns a kernel image under a name that no node knows yet, written as people write it."""
    source, _, tag = os.environ.get("EG_E2E_KERNEL_IMAGE", "elyra/kernel-py:dev").partition(":")
    target = f"kip-e2e/kernel-{os.urandom(4).hex()}"
    _copy_image(cluster_registry, source, tag or "latest", target)
    return f"{target}:{tag or 'latest'}"


@pytest.fixture
def gateway(kubectl: Kubectl, tmp_path: Path, image: str, installation: Installation) -> Iterator[Server]:
    """A gateway on this machine, which pods reach too."""
    workspace = Workspace(root=tmp_path)
    target = workspace.data / "kernels" / NAME
    shutil.copytree(KERNELSPEC, target)
    spec = json.loads((target / "kernel.json").read_text(encoding="utf-8"))
    spec["metadata"]["kernel_provisioner"]["config"]["image_name"] = image
    (target / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
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
    yield server.start()
    if server.running:
        server.stop()
    kubectl("delete", "namespaces", "-l", f"app.kubernetes.io/instance={installation.namespace}", "--wait=false")


def _pod_of(kubectl: Kubectl, kernel_id: str) -> dict[str, Any]:
    (pod,) = kubectl.json("get", "pods", "--all-namespaces", "-l", f"kernel_id={kernel_id}")["items"]
    return dict(pod)


def test_the_gateway_shows_where_an_image_is_and_starts_its_kernels_there_if_it_can(
    kubectl: Kubectl, host_address: str, gateway: Server, image: str, installation: Installation
) -> None:
    nodes = kubectl.nodes()
    warm = nodes[-1]
    assert len(nodes) > 1, "one node can't be preferred to another"
    kubectl("create", "namespace", installation.namespace)
    installation.run("create", "secret", "generic", "gateway-token", f"--from-literal=token={TOKEN}")
    installation.apply(
        "kernel-image-puller.yaml",
        only_on=warm,
        KIP_GATEWAY_HOST=f"http://{host_address}:{gateway.port}",
        KIP_INTERVAL="5",
    )
    installation.wait_until_ready([warm])

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
