"""Gateways that may do something in one namespace only: a Role there, and no right in the rest of the cluster."""

from __future__ import annotations

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.support.installation import NAME
from tests.support.kernel_socket import KernelSocket, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.installation import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

RIGHTS = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "create", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "create", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
]
LEASES = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}


@pytest.fixture
def new_namespace(cluster: Cluster) -> Iterator[Callable[[], str]]:
    made = []

    def make() -> str:
        name = f"e2e-role-{secrets.token_hex(3)}"
        cluster.kubectl("create", "namespace", name)
        made.append(name)
        return name

    yield make
    for name in made:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def namespace(new_namespace: Callable[[], str]) -> str:
    return new_namespace()


@pytest.fixture
def restricted(cluster: Cluster, namespace: str, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a kubeconfig of a service account with a Role of some rules and nothing else."""

    def make(rules: list[dict[str, object]], *others: str) -> Path:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "gateway", "namespace": namespace}}
        documents = [account, *(each for home in (namespace, *others) for each in _rights(rules, home, namespace))]
        cluster.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
        config = json.loads(cluster.kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json"))
        token = cluster.kubectl("create", "token", "gateway", "-n", namespace).strip()
        config["users"] = [{"name": config["contexts"][0]["context"]["user"], "user": {"token": token}}]
        file = tmp_path / "restricted.kubeconfig"
        file.write_text(json.dumps(config))
        return file

    return make


def _rights(rules: list[dict[str, object]], home: str, account_namespace: str) -> list[dict[str, object]]:
    group = "rbac.authorization.k8s.io"
    metadata = {"name": "gateway", "namespace": home}
    return [
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "gateway"},
            "subjects": [{"kind": "ServiceAccount", "name": "gateway", "namespace": account_namespace}],
        },
    ]


def test_a_role_is_enough_for_kernels_in_one_namespace(installation, restricted, namespace, leads, until, cluster):
    kubeconfig = restricted([*RIGHTS, LEASES])
    settings = {"NAMESPACE": namespace, "SHARED_NAMESPACE": "True"}
    one = installation.gateway(kubeconfig=kubeconfig, **settings).start(90)
    other = installation.gateway(kubeconfig=kubeconfig, **settings).start(90)
    until(lambda: leads(one) != leads(other))
    kernel_id = one.start_kernel(NAME)
    assert cluster.pod(kernel_id)["metadata"]["namespace"] == namespace
    with KernelSocket(other, kernel_id) as client:
        client.run("kept = 1")
        cluster.kubectl("delete", "pods", "-n", namespace, "-l", f"kernel_id={kernel_id}", "--wait=false")
        client.wait_for(lambda message: message.type == "status" and message.content["execution_state"] == "restarting")
        until(lambda: other.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"] == "idle")
        assert text_of(client.run("print('well')")) == "well\n"
    one.kill()
    one.start(90)
    assert one.kernel_ids() == {kernel_id}
    one.stop_kernel(kernel_id)
    until(lambda: cluster.objects(kernel_id) == [])
    refused = [line for line in (one.log + other.log).splitlines() if "forbidden" in line.lower()]
    assert refused == []


def test_roles_in_a_list_of_namespaces_are_enough_and_limits_hold_over_all_of_them(
    installation, restricted, new_namespace, namespace, until, cluster
):
    homes = [new_namespace(), new_namespace()]
    kubeconfig = restricted([*RIGHTS, LEASES], *homes)
    settings = {"NAMESPACE": namespace, "KERNEL_NAMESPACES": ",".join(homes), "MAX_KERNELS_PER_USER": "2"}
    one = installation.gateway(kubeconfig=kubeconfig, **settings).start(90)
    other = installation.gateway(kubeconfig=kubeconfig, **settings).start(90)
    env = {"KERNEL_USERNAME": "ada"}
    first = one.start_kernel(NAME, env=env)
    second = one.start_kernel(NAME, env={**env, "KERNEL_NAMESPACE": homes[1]})
    assert [cluster.pod(kernel_id)["metadata"]["namespace"] for kernel_id in (first, second)] == homes
    until(lambda: other.kernel_ids() == {first, second})
    assert other.request("POST", "/api/kernels", json={"name": NAME, "env": env}).status_code == 403
    answer = other.request("POST", "/api/kernels", json={"name": NAME, "env": {"KERNEL_NAMESPACE": "default"}})
    assert answer.status_code == 403
    with KernelSocket(other, second) as client:
        assert text_of(client.run("print(1)")) == "1\n"
    other.stop_kernel(second)
    # Two at once, each in a namespace of its own, for the one place that is left.
    bodies = [{"name": NAME, "env": {**env, "KERNEL_NAMESPACE": home}} for home in homes]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda server, body: server.request("POST", "/api/kernels", json=body), (one, other), bodies))
    started = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    assert len(started) <= 1
    assert {answer.status_code for answer in answers} <= {201, 403}
    for kernel_id in (first, *started):
        one.stop_kernel(kernel_id)
        until(lambda kernel_id=kernel_id: cluster.objects(kernel_id) == [])
    refused = [line for line in (one.log + other.log).splitlines() if "forbidden" in line.lower()]
    assert refused == []


def test_without_a_right_to_leases_a_gateway_says_so_once_and_looks_after_its_own_kernels(
    installation, restricted, namespace, until, leads
):
    kubeconfig = restricted(RIGHTS)
    settings = {"NAMESPACE": namespace, "SHARED_NAMESPACE": "True", "CULL_IDLE_TIMEOUT": "5", "CULL_INTERVAL": "1"}
    one = installation.gateway(kubeconfig=kubeconfig, **settings).start(90)
    kernel_id = one.start_kernel(NAME)
    until(lambda: one.kernel_ids() == set(), 60)
    assert not leads(one)
    assert one.log.count("Without the right to leases") == 1
    # Nobody can know whether the one that started it is still there.
    kernel_id = one.start_kernel(NAME)
    other = installation.gateway(kubeconfig=kubeconfig, **settings).start(90)
    until(lambda: other.kernel_ids() == set(), 60)
    assert "Kernel is culled" not in other.log
    assert kernel_id in one.log


def test_a_gateway_that_is_said_to_be_the_only_one_needs_no_lease(installation, restricted, namespace, until, leads):
    settings = {"NAMESPACE": namespace, "SHARED_NAMESPACE": "True", "LEADER_ELECTION": "False"}
    one = installation.gateway(kubeconfig=restricted(RIGHTS), **settings).start(90)
    assert leads(one)
    kernel_id = one.start_kernel(NAME)
    one.kill()
    one.start(90)
    with KernelSocket(one, kernel_id) as client:
        client.execute("import os; os._exit(3)")
        client.wait_for(lambda message: message.type == "status" and message.content["execution_state"] == "restarting")
        until(lambda: one.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"] == "idle")
    assert "leases" not in one.log
    one.stop_kernel(kernel_id)
