"""One installation of the gateway on a real cluster: its gateways, its kernelspecs, and what the cluster says of its kernels."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.servers import Product, Server, Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "IMAGE",
    "NAME",
    "Cluster",
    "Installation",
    "address_for_pods",
    "delivered_template",
    "require_cluster",
    "template_with_documents",
]

NAME = "python_kubernetes"
IMAGE = os.environ.get("EG_E2E_KERNEL_IMAGE", "elyra/kernel-py:dev")
_KERNELSPECS = Path(__file__).parents[2] / "deploy" / "kernelspecs"
_KERNELSPEC = _KERNELSPECS / NAME
_DOCUMENTS = """
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ kernel_pod_name }}-motd
data:
  motd: welcome
---
apiVersion: v1
kind: Service
metadata:
  name: {{ kernel_pod_name }}
spec:
  clusterIP: None
  selector:
    kernel_id: {{ kernel_id }}
"""


def require_cluster() -> None:
    """Skip where there is no cluster; fail where REQUIRE_E2E=1 says that there must be one."""
    if os.environ.get("KUBECONFIG") and shutil.which("kubectl"):
        return
    reason = "there is no cluster: KUBECONFIG isn't set, or there is no kubectl"
    if os.environ.get("REQUIRE_E2E") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def delivered_template() -> str:
    """Return the template that is delivered."""
    return (_KERNELSPEC / "scripts" / "kernel-pod.yaml.j2").read_text()


def template_with_documents() -> str:
    """Return the template that is delivered, with a ConfigMap and a Service beside the pod."""
    return delivered_template() + _DOCUMENTS


def address_for_pods() -> str:
    """Return the address under which nodes and pods reach this machine: HOST_ADDRESS, else the one that faces a node."""
    if given := os.environ.get("HOST_ADDRESS"):
        return given
    path = "{.items[0].status.addresses[?(@.type=='InternalIP')].address}"
    node = subprocess.run(
        ["kubectl", "get", "nodes", "-o", f"jsonpath={path}"], check=True, capture_output=True, text=True
    ).stdout
    # Connecting a datagram socket sends nothing; it only chooses the way.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((node, 9))
        return str(probe.getsockname()[0])


class Cluster:
    """What a test asks of the cluster itself, by kubectl and by the labels of one installation."""

    def __init__(self) -> None:
        self.instance = f"e2e-{secrets.token_hex(3)}"

    def kubectl(self, *arguments: str, **options: Any) -> str:
        """Return what kubectl prints."""
        return subprocess.run(["kubectl", *arguments], check=True, capture_output=True, text=True, **options).stdout

    def objects(self, kernel_id: str) -> list[str]:
        """Return every object of a kernel that isn't being deleted already, as kind and name."""
        return self.labelled(f"kernel_id={kernel_id}")

    def labelled(self, selector: str) -> list[str]:
        """Return every object with some labels that isn't being deleted already, as kind and name."""
        text = self.kubectl("get", "pods,secrets,configmaps,services,rolebindings,namespaces", "-A", "-l", selector, "-o", "json")
        items = json.loads(text)["items"]
        return sorted(
            f"{item['kind']}/{item['metadata']['name']}" for item in items if "deletionTimestamp" not in item["metadata"]
        )

    def pods(self, kernel_id: str) -> list[dict[str, Any]]:
        """Return the pods of a kernel, those that end too."""
        text = self.kubectl("get", "pods", "-A", "-l", f"kernel_id={kernel_id}", "-o", "json")
        return list(json.loads(text)["items"])

    def pod(self, kernel_id: str) -> dict[str, Any]:
        """Return the only pod of a kernel."""
        (pod,) = self.pods(kernel_id)
        return pod

    def clear(self) -> None:
        """Have everything of the installation deleted."""
        self.kubectl("delete", "namespaces", "-l", f"app.kubernetes.io/instance={self.instance}", "--wait=false")
        leases = self.kubectl("-n", "default", "get", "leases", "-o", "name").split()
        if own := [lease for lease in leases if lease.partition("/")[2].startswith(self.instance)]:
            self.kubectl("-n", "default", "delete", *own)


class Installation:
    """Makes gateways of one installation, each a process of its own outside of the cluster.

    Parameters
    ----------
    folder
        For kernelspecs, logs and all that the gateways read and write.
    """

    def __init__(self, *, folder: Path, cluster: Cluster) -> None:
        self.cluster = cluster
        self._workspace = Workspace(root=folder)
        self._made: list[Server] = []
        self.add_kernelspec(NAME)

    def add_kernelspec(
        self,
        name: str,
        *,
        argv: list[str] | None = None,
        template: str | None = None,
        config: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        provisioner: str | None = None,
        dialect: str = "kernel-pod.yaml.j2",
    ) -> str:
        """Install a kernelspec that is as the one that is delivered but for some parts, and return its name."""
        target = self._workspace.data / "kernels" / name
        shutil.copytree(_KERNELSPEC, target)
        spec = json.loads((target / "kernel.json").read_text())
        spec["metadata"]["kernel_provisioner"]["config"] |= {"image_name": IMAGE, **(config or {})}
        spec["metadata"]["kernel_provisioner"]["provisioner_name"] = provisioner or "kubernetes"
        spec["argv"] = argv or spec["argv"]
        spec["env"] = {**spec.get("env", {}), **(env or {})}
        (target / "kernel.json").write_text(json.dumps(spec))
        if template is not None:
            (target / "scripts" / "kernel-pod.yaml.j2").unlink()
            (target / "scripts" / dialect).write_text(template)
        return name

    def deliver(self, name: str, *, env: Mapping[str, str] | None = None, image: str | None = None) -> str:
        """Install a kernelspec as it is delivered, but for some of its variables and its image, and return its name."""
        target = self._workspace.data / "kernels" / name
        if not target.exists():
            shutil.copytree(_KERNELSPECS / name, target)
        spec = json.loads((target / "kernel.json").read_text())
        spec["env"] |= env or {}
        if image is not None:
            spec["metadata"]["kernel_provisioner"]["config"]["image_name"] = image
        (target / "kernel.json").write_text(json.dumps(spec))
        return name

    def kernelspec_text(self, name: str) -> str:
        """Return the `kernel.json` of an installed kernelspec."""
        return (self._workspace.data / "kernels" / name / "kernel.json").read_text()

    def write_kernelspec(self, name: str, spec: Mapping[str, Any], files: Mapping[str, str]) -> str:
        """Install a kernelspec of one's own with some files beside its kernel.json, and return its name."""
        target = self._workspace.data / "kernels" / name
        for file, text in {"kernel.json": json.dumps(spec), **files}.items():
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            (target / file).write_text(text)
        return name

    def gateway(
        self, *, kubeconfig: Path | str | None = None, environment: Mapping[str, str] | None = None, **settings: str
    ) -> Server:
        """Return a gateway that isn't started yet."""
        own = {"INSTANCE": self.cluster.instance, "KERNEL_CLUSTER_ROLE": "", "KERNEL_LAUNCH_TIMEOUT": "60", **settings}
        given = {"KUBECONFIG": str(kubeconfig or os.environ["KUBECONFIG"]), **(environment or {})}
        return self.server(Product.GATEWAY, settings=own, environment=given)

    def server(self, product: Product, **options: Any) -> Server:
        """Return a server with the installation's kernelspecs that isn't started yet."""
        server = Server(product=product, workspace=self._workspace, **options)
        self._made.append(server)
        return server

    def close(self) -> None:
        """Stop the gateways that run and have what they made deleted."""
        for server in self._made:
            if server.running:
                server.stop()
        self.cluster.clear()
