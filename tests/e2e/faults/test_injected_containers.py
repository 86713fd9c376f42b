"""Containers that admission puts into kernels' pods, as service meshes do: before the kernel's own, and into its way.

The policies take no pod but those of this module's installation. They need a cluster that serves MutatingAdmissionPolicy
(admissionregistration.k8s.io/v1); where it doesn't, the tests are skipped.
"""

from __future__ import annotations

import json
import secrets
import uuid
from typing import TYPE_CHECKING

import pytest
from tests.support.installation import IMAGE, NAME
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.servers import Server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

_API = "admissionregistration.k8s.io/v1"
_LIMIT = 'Object.spec.containers.resources{limits: {"memory": "64Mi"}}'

# What each policy adds: where, as which type, and with which fields.
INJECTED = {
    "first": (
        "/spec/containers/0",
        "containers",
        f'name: "mesh", image: "{IMAGE}", command: ["sleep", "3600"], resources: {_LIMIT}',
    ),
    "brief": ("/spec/containers/0", "containers", f'name: "hello", image: "{IMAGE}", command: ["true"]'),
    "failing": ("/spec/initContainers/-", "initContainers", f'name: "setup", image: "{IMAGE}", command: ["sh", "-c", "exit 4"]'),
    "restarted": (
        "/spec/initContainers/-",
        "initContainers",
        f'name: "proxy", image: "{IMAGE}", restartPolicy: "Always", command: ["sh", "-c", "sleep 4; exit 1"]',
    ),
}


def policy(name: str, instance: str, what: str) -> list[dict]:
    """Return the objects that have a container added to every pod of an installation's kernels."""
    path, kind, container = INJECTED[what]
    add = f'JSONPatch{{op: "add", path: "{path}", value: Object.spec.{kind}{{{container}}}}}'
    patches = [add]
    if path.startswith("/spec/initContainers"):
        patches.insert(0, 'JSONPatch{op: "add", path: "/spec/initContainers", value: []}')
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    selector = {"matchLabels": {"app.kubernetes.io/instance": instance}}
    return [
        {
            "apiVersion": _API,
            "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"objectSelector": selector, "resourceRules": [rule]},
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never",
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": f"[{', '.join(patches)}]"}}],
            },
        },
        {"apiVersion": _API, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": {"policyName": name}},
    ]


@pytest.fixture
def gateway_with(installation, cluster) -> Iterator[Callable[[str], Server]]:
    """Return a function that starts a gateway whose kernels' pods get a container by admission."""
    if "mutatingadmissionpolicies" not in cluster.kubectl("api-resources", "--api-group=admissionregistration.k8s.io"):
        pytest.skip("the cluster serves no MutatingAdmissionPolicy")
    servers: list[Server] = []
    instance = f"{cluster.instance}-{secrets.token_hex(2)}"
    name = f"e2e.{instance}"

    def make(what: str) -> Server:
        cluster.kubectl("apply", "-f", "-", input="\n---\n".join(map(json.dumps, policy(name, instance, what))))
        wait_until(lambda: _is_in_force(cluster, instance), timeout=60)
        servers.append(installation.gateway(INSTANCE=instance, RESTART_LIMIT="3").start())
        return servers[0]

    yield make
    for server in servers:
        server.stop()
    objects = [f"mutatingadmissionpolicybindings/{name}", f"mutatingadmissionpolicies/{name}"]
    cluster.kubectl("delete", "--ignore-not-found", *objects)
    cluster.kubectl("delete", "namespaces", "-l", f"app.kubernetes.io/instance={instance}", "--wait=false")


def _is_in_force(cluster, instance: str) -> bool:
    # The API server takes a policy up some moments after it has been made; a pod that is only tried says when.
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"probe-{instance}", "labels": {"app.kubernetes.io/instance": instance}},
        "spec": {"containers": [{"name": "probe", "image": IMAGE}]},
    }
    arguments = ("-n", "default", "create", "--dry-run=server", "-o", "json", "-f", "-")
    spec = json.loads(cluster.kubectl(*arguments, input=json.dumps(pod)))["spec"]
    return len([*spec["containers"], *spec.get("initContainers", ())]) > 1


class Told:
    """What a client hears of its kernel's end."""

    def __init__(self, server: Server, kernel_id: str) -> None:
        self._server, self._model = server, f"/api/kernels/{kernel_id}"

    def reason_of_the_end_by(self, client: KernelSocket, code: str) -> str:
        client.execute(code)
        said: list[str] = []

        def restarts(message) -> bool:
            if message.type == "stream" and message.content["name"] == "stderr":
                said.append(message.content["text"])
            return message.type == "status" and message.content["execution_state"] == "restarting"

        client.wait_for(restarts, timeout=20)
        while not said:
            message = client.receive(5)
            if message.type == "stream" and message.content["name"] == "stderr":
                said.append(message.content["text"])
        wait_until(lambda: self._server.request("GET", self._model).json()["execution_state"] == "idle", timeout=60)
        return "".join(said)


def test_the_end_of_a_kernel_behind_an_injected_container_is_seen_with_its_own_status_and_limit(gateway_with, cluster):
    server = gateway_with("first")
    kernel_id = server.start_kernel(NAME, env={"KERNEL_MEMORY_LIMIT": "200Mi"})
    pod = cluster.pod(kernel_id)
    assert [container["name"] for container in pod["spec"]["containers"]] == ["mesh", "kernel"]
    told = Told(server, kernel_id)
    with KernelSocket(server, kernel_id) as client:
        assert "exited with status 3" in told.reason_of_the_end_by(client, "import os; os._exit(3)")
        assert text_of(client.run("print('again')")) == "again\n"
        assert "its limit (200Mi)" in told.reason_of_the_end_by(client, "x = bytearray(1024 ** 3)")
    # What a person asks kubectl for is the kernel's, too.
    pod = cluster.pod(kernel_id)["metadata"]
    assert cluster.kubectl("-n", pod["namespace"], "exec", pod["name"], "--", "printenv", "KERNEL_ID") == f"{kernel_id}\n"
    server.stop_kernel(kernel_id)
    wait_until(lambda: cluster.objects(kernel_id) == [], timeout=60)


def test_a_pod_of_a_gateway_that_wrote_no_container_name_is_known_by_the_kernels_id(gateway_with, cluster):
    server = gateway_with("first")
    kernel_id = server.start_kernel(NAME)
    metadata = cluster.pod(kernel_id)["metadata"]
    server.kill()
    where = ("-n", metadata["namespace"], "annotate", "pod", metadata["name"])
    cluster.kubectl(*where, "enterprise-gateway.jupyter.org/kernel-container-", "kubectl.kubernetes.io/default-container-")
    server.start()
    wait_until(lambda: kernel_id in server.kernel_ids(), timeout=30)
    with KernelSocket(server, kernel_id) as client:
        said = Told(server, kernel_id).reason_of_the_end_by(client, "import os; os._exit(3)")
        assert "exited with status 3" in said
    server.stop_kernel(kernel_id)
    wait_until(lambda: cluster.objects(kernel_id) == [], timeout=60)


@pytest.mark.parametrize("what", ["brief", "restarted"])
def test_an_injected_container_that_ends_is_nothing_to_the_kernel(gateway_with, cluster, what):
    server = gateway_with(what)
    kernel_id = server.start_kernel(NAME)
    with KernelSocket(server, kernel_id) as client:
        client.run("kept = 1")

        def has_ended() -> bool:
            status = cluster.pod(kernel_id)["status"]
            (other,) = (
                entry
                for entry in (*status.get("initContainerStatuses", ()), *status["containerStatuses"])
                if entry["name"] != "kernel"
            )
            return "terminated" in other["state"] or other["restartCount"] > 1

        wait_until(has_ended, timeout=60)
        assert text_of(client.run("print(kept)")) == "1\n"
    assert server.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"] == "idle"
    server.stop_kernel(kernel_id)
    wait_until(lambda: cluster.objects(kernel_id) == [], timeout=60)


def test_an_injected_init_container_that_fails_is_named(gateway_with, cluster):
    server = gateway_with("failing")
    kernel_id = str(uuid.uuid4())
    answer = server.request("POST", "/api/kernels", json={"name": NAME, "env": {"KERNEL_ID": kernel_id}})
    assert answer.status_code == 500
    assert "The init container 'setup' exited with status 4." in answer.json()["message"]
    wait_until(lambda: cluster.objects(kernel_id) == [], timeout=60)
