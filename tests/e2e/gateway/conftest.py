"""The gateway as its users have it, with kernels in the pods of any cluster that KUBECONFIG names.

Its nodes must find the image EG_E2E_KERNEL_IMAGE (default elyra/kernel-py:dev). Without a cluster the tests are skipped;
with REQUIRE_E2E=1 they fail instead.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.servers import Product, Server, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_KERNELSPEC = Path(__file__).parents[3] / "deploy" / "kernelspecs" / "python_kubernetes"
_IMAGE = os.environ.get("EG_E2E_KERNEL_IMAGE", "elyra/kernel-py:dev")


class Cluster:
    """What a test asks of the cluster itself, by kubectl and by the labels of one installation."""

    def __init__(self) -> None:
        self.instance = f"e2e-{secrets.token_hex(3)}"

    def kubectl(self, *arguments: str) -> str:
        """Return what kubectl prints."""
        return subprocess.run(["kubectl", *arguments], check=True, capture_output=True, text=True).stdout

    def objects(self, kernel_id: str) -> list[str]:
        """Return every object of a kernel that isn't being deleted already, as kind and name."""
        found = []
        for kind in ("pods", "secrets", "namespaces", "rolebindings"):
            scope = () if kind == "namespaces" else ("--all-namespaces",)
            text = self.kubectl("get", kind, *scope, "-l", f"kernel_id={kernel_id}", "-o", "json")
            items = json.loads(text)["items"]
            found += [f"{kind}/{item['metadata']['name']}" for item in items if "deletionTimestamp" not in item["metadata"]]
        return found

    def pod(self, kernel_id: str) -> dict[str, Any]:
        """Return the pod of a kernel."""
        text = self.kubectl("get", "pods", "--all-namespaces", "-l", f"kernel_id={kernel_id}", "-o", "json")
        (pod,) = json.loads(text)["items"]
        return dict(pod)


@pytest.fixture
def cluster() -> Cluster:
    if not (os.environ.get("KUBECONFIG") and shutil.which("kubectl")):
        reason = "there is no cluster: KUBECONFIG isn't set, or there is no kubectl"
        if os.environ.get("REQUIRE_E2E") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return Cluster()


@pytest.fixture
def gateway(tmp_path: Path, cluster: Cluster) -> Iterator[Callable[..., Server]]:
    """Return a function that makes a gateway of the cluster's installation; what runs at the end is ended."""
    workspace = Workspace(root=tmp_path)
    target = workspace.data / "kernels" / "python_kubernetes"
    shutil.copytree(_KERNELSPEC, target)
    spec = json.loads((target / "kernel.json").read_text())
    spec["metadata"]["kernel_provisioner"]["config"]["image_name"] = _IMAGE
    (target / "kernel.json").write_text(json.dumps(spec))
    made: list[Server] = []

    def make(**settings: str) -> Server:
        own = {"INSTANCE": cluster.instance, "KERNEL_CLUSTER_ROLE": "", "KERNEL_LAUNCH_TIMEOUT": "60", **settings}
        server = Server(
            product=Product.GATEWAY,
            workspace=workspace,
            settings=own,
            environment={"KUBECONFIG": os.environ["KUBECONFIG"]},
        )
        made.append(server)
        return server

    yield make
    for server in made:
        if server.running:
            server.stop()
    cluster.kubectl("delete", "namespaces", "-l", f"app.kubernetes.io/instance={cluster.instance}", "--wait=false")
