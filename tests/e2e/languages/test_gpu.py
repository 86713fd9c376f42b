"""The kernelspec for GPUs, on a node that says it has one: what is scheduled where. The image is a plain Python kernel's."""

from __future__ import annotations

import json

import pytest
from tests.support.installation import IMAGE, Cluster, Installation, require_cluster
from tests.support.kernel_socket import KernelSocket, text_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

NAME = "python_tf_gpu_kubernetes"
_RESOURCE, _LABEL = "nvidia.com~1gpu", "nvidia.com/gpu.present"


@pytest.fixture
def installation(tmp_path):
    require_cluster()
    made = Installation(folder=tmp_path, cluster=Cluster())
    yield made
    made.close()


@pytest.fixture
def gpu_node(installation):
    """The name of a node with one GPU, which keeps pods away that don't want it."""
    kubectl = installation.cluster.kubectl

    def resource(operation):
        patch = [{"op": operation, "path": f"/status/capacity/{_RESOURCE}", **({"value": "1"} if operation == "add" else {})}]
        kubectl("patch", "node", name, "--subresource=status", "--type=json", "-p", json.dumps(patch))

    name = json.loads(kubectl("get", "nodes", "-o", "json"))["items"][-1]["metadata"]["name"]
    resource("add")
    kubectl("label", "node", name, f"{_LABEL}=true", "--overwrite")
    yield name
    kubectl("label", "node", name, f"{_LABEL}-")
    resource("remove")


def test_a_kernel_gets_the_gpu_of_a_node_that_has_one_and_the_next_is_told_that_none_is_left(installation, gpu_node):
    installation.deliver(NAME, image=IMAGE)
    server = installation.gateway().start()
    kernel_id = server.start_kernel(NAME)
    pod = installation.cluster.pod(kernel_id)
    assert pod["spec"]["nodeName"] == gpu_node
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod["spec"]["tolerations"]
    with KernelSocket(server, kernel_id) as client:
        assert text_of(client.run("print(6 * 7)")) == "42\n"
    answer = server.request("POST", "/api/kernels", json={"name": NAME, "env": {"KERNEL_LAUNCH_TIMEOUT": "5"}})
    assert answer.status_code == 500
    assert "Insufficient nvidia.com/gpu" in answer.json()["message"]
    server.stop_kernel(kernel_id)
