"""Kernels on a real cluster: any KUBECONFIG whose nodes find the image EG_E2E_KERNEL_IMAGE (default elyra/kernel-py:dev)."""

import asyncio
import json
import os
import secrets
import subprocess
import uuid
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import zmq.asyncio
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from enterprise_gateway.cluster.api.connect import connect, find_cluster
from enterprise_gateway.cluster.pods.diagnosis import Graces
from enterprise_gateway.cluster.services import ClusterOptions, ClusterServices
from enterprise_gateway.launch.plan import LaunchSettings
from enterprise_gateway.launch.policy import PolicyFile
from enterprise_gateway.provisioners.kubernetes import KubernetesProvisioner

SPEC = Path(__file__).parents[3] / "deploy" / "kernelspecs" / "python_kubernetes"
IMAGE = os.environ.get("EG_E2E_KERNEL_IMAGE", "elyra/kernel-py:dev")
POLICY = "images: ['*']\nvolume_types: [emptyDir]\n"


@pytest.fixture(scope="session", autouse=True)
def cluster():
    """Skip where there is no cluster, unless somebody asked for one."""
    if find_cluster(os.environ) is None:
        if os.environ.get("REQUIRE_E2E") == "1":
            pytest.fail("REQUIRE_E2E=1, and there is no cluster: KUBECONFIG isn't set")
        pytest.skip("there is no cluster: KUBECONFIG isn't set")


def kubectl(*arguments):
    return subprocess.run(["kubectl", *arguments], check=True, capture_output=True, text=True).stdout


class Kernels:
    """Starts kernels as a gateway does, with services of its own, told from those of others by the instance."""

    def __init__(self, folder):
        self.folder = folder
        self.instance = f"e2e-{secrets.token_hex(3)}"
        self._contexts = []

    @asynccontextmanager
    async def services(self, *, responses=None, **options):
        policy = self.folder / "policy.yaml"
        policy.write_text(POLICY)
        launch = LaunchSettings(instance=self.instance, kernel_cluster_role=None, **options)
        services = ClusterServices(
            client=await connect(find_cluster(os.environ)),
            policy=PolicyFile(policy),
            options=ClusterOptions(launch=launch, graces=Graces(unschedulable=1, image_pull=5)),
            responses=responses,
        )
        services.start()
        try:
            await services.ready(20)
            yield services
        finally:
            await services.stop()
            # jupyter_client leaves its own to the garbage collector, which may come after the test.
            while self._contexts:
                self._contexts.pop().destroy(linger=0)

    def manager(self, services, *, argv=None, template=None, metadata=None, env=None):
        folder = self.folder / "kernels" / f"k{secrets.token_hex(3)}"
        (folder / "scripts").mkdir(parents=True)
        spec = json.loads((SPEC / "kernel.json").read_text())
        spec["argv"] = argv or spec["argv"]
        spec["metadata"] = {**spec["metadata"], **(metadata or {})}
        spec["env"] = {**spec.get("env", {}), **(env or {})}
        (folder / "kernel.json").write_text(json.dumps(spec))
        (folder / "scripts" / "kernel-pod.yaml.j2").write_text(template or (SPEC / "scripts" / "kernel-pod.yaml.j2").read_text())
        specs = KernelSpecManager(kernel_dirs=[str(folder.parent)], ensure_native_kernel=False)
        self._contexts.append(zmq.asyncio.Context())
        manager = AsyncKernelManager(
            context=self._contexts[-1],
            kernel_name=folder.name,
            kernel_spec_manager=specs,
            connection_file=str(folder / "connection.json"),
            transport_encryption="auto",
        )
        manager.kernel_id = str(uuid.uuid4())
        manager.provisioner = KubernetesProvisioner(
            services=services, kernel_id=manager.kernel_id, kernel_spec=manager.kernel_spec, parent=manager, image_name=IMAGE
        )
        return manager

    def left(self, kernel_id=None):
        """Return what exists of a kernel, or of all kernels of this test; what is ending doesn't count."""
        selector = f"app.kubernetes.io/instance={self.instance}" + (f",kernel_id={kernel_id}" if kernel_id else "")
        found = json.loads(kubectl("get", "pods,secrets,configmaps,rolebindings,namespaces", "-A", "-l", selector, "-o", "json"))
        return sorted(
            f"{item['kind']}/{item['metadata']['name']}" for item in found["items"] if "deletionTimestamp" not in item["metadata"]
        )

    async def nothing_left(self, kernel_id=None):
        """Return when nothing is; the test's own timeout is the limit."""
        while await asyncio.to_thread(self.left, kernel_id):
            await asyncio.sleep(0.2)

    kubectl = staticmethod(kubectl)

    @staticmethod
    async def execute(client, code, seconds=30):
        """Return what a cell printed or gave, and whether it succeeded."""
        output = []

        def hook(message):
            content = message["content"]
            output.append(content.get("text") or content.get("data", {}).get("text/plain", ""))

        reply = await client.execute_interactive(code, output_hook=hook, timeout=seconds)
        return "".join(output).strip(), reply["content"]["status"]

    @staticmethod
    @asynccontextmanager
    async def connected(manager):
        client = manager.client()
        client.start_channels()
        try:
            await client.wait_for_ready(timeout=60)
            yield client
        finally:
            client.stop_channels()


@pytest.fixture
def kernels(tmp_path):
    made = Kernels(tmp_path)
    yield made
    kubectl("delete", "namespaces", "-l", f"app.kubernetes.io/instance={made.instance}", "--wait=false")
