"""A gateway that is killed in the middle of a start, at each of its steps: the next one has a kernel, or nothing is left."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import requests
from tests.support.api_proxy import Fault
from tests.support.installation import template_with_documents
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.waiting import wait_until

from enterprise_gateway.cluster.api.connect import connect, find_cluster
from enterprise_gateway.cluster.services import ClusterOptions, ClusterServices
from enterprise_gateway.launch.plan import LaunchSettings
from enterprise_gateway.launch.policy import PolicyFile
from enterprise_gateway_common import labels

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300),
    # An event loop that ends at once leaves TLS connections to the garbage collector.
    pytest.mark.filterwarnings("default::ResourceWarning", "default::pytest.PytestUnraisableExceptionWarning"),
]

_CLOCK_SKEW_SECONDS = 60


@pytest.fixture(scope="module")
def settings(cluster) -> Iterator[dict[str, str]]:
    """Settings with which a start makes every kind of object that there is."""
    name = f"{cluster.instance}-credentials"
    docker = ["--docker-server=registry.example", "--docker-username=someone", "--docker-password=secret"]
    cluster.kubectl("-n", "default", "create", "secret", "docker-registry", name, *docker)
    cluster.kubectl("create", "clusterrole", f"{cluster.instance}-role", "--verb=get", "--resource=pods")
    yield {
        "NAMESPACE": "default",
        "KERNEL_CLUSTER_ROLE": f"{cluster.instance}-role",
        "KERNEL_IMAGE_PULL_SECRETS": name,
        "LEADER_ELECTION": "False",
    }
    cluster.kubectl("-n", "default", "delete", "secret", name)
    cluster.kubectl("delete", "clusterrole", f"{cluster.instance}-role")


@pytest.fixture
def shared_namespace(cluster) -> Iterator[str]:
    name = f"e2e-shared-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def is_of_a_start(call) -> bool:
    """Tell the calls that make a start's objects from those of the watches and from marks on pods that run."""
    on_pods = call.path.endswith("/pods") if call.method == "GET" else call.method == "PATCH" and "/pods/" in call.path
    return not call.is_watch and not on_pods


def killed_in_step(installation, proxy, kubeconfig, settings, step, *, name) -> tuple[str, bool]:
    """Kill a gateway when the n-th call of a start has taken effect; return the kernel's id and whether there was one."""
    server = installation.gateway(kubeconfig=kubeconfig, **settings).start()
    kernel_id, seen = str(uuid.uuid4()), []
    proxy.count_anew()

    def fault(call):
        if not is_of_a_start(call):
            return None
        seen.append(call)
        return Fault(after=True, hang=True) if len(seen) == step else None

    proxy.fault = fault
    with ThreadPoolExecutor(1) as pool:
        body = {"name": name, "env": {"KERNEL_ID": kernel_id, "KERNEL_USERNAME": "ada"}}
        start = pool.submit(server.request, "POST", "/api/kernels", json=body)
        wait_until(lambda: proxy.took_effect.is_set() or start.done(), timeout=60)
        reached = proxy.took_effect.is_set()
        server.kill()
        proxy.heal()
        if reached:
            assert isinstance(start.exception(), requests.ConnectionError)
        else:
            assert start.result().status_code == 201, start.result().text
    return kernel_id, reached


def wait_until_marked(cluster, kernel_ids) -> None:
    """Return when the gateway has written on all pods that their kernels answer, without which they are orphans one day."""
    wait_until(
        lambda: all(labels.LAST_ACTIVITY_ANNOTATION in cluster.pod(each)["metadata"]["annotations"] for each in kernel_ids),
        timeout=60,
    )


def collect(instance: str) -> None:
    """Do what the next gateway's collector of orphans does when they are old enough."""
    asyncio.run(_collect(instance))
    # What the loop left of its connections is told of here, where it is known to be of no matter.
    gc.collect()


async def _collect(instance: str) -> list[str]:
    services = ClusterServices(
        client=await connect(find_cluster(os.environ)),
        policy=PolicyFile(None),
        options=ClusterOptions(launch=LaunchSettings(instance=instance)),
    )
    services.start()
    try:
        await services.ready(20)
        return await services.store.collect_orphans(older_than=-_CLOCK_SKEW_SECONDS, now=datetime.now(UTC))
    finally:
        await services.stop()


def test_a_gateway_that_is_killed_in_any_step_of_a_start_leaves_a_kernel_or_nothing(
    installation, cluster, proxy, kubeconfig, settings
):
    # Of the kind whose accounts get a role.
    name = installation.add_kernelspec("starting-pods", config={"starts_pods": True})
    steps: dict[int, str] = {}
    for step in range(1, 20):
        kernel_id, reached = killed_in_step(installation, proxy, kubeconfig, settings, step, name=name)
        steps[step] = kernel_id
        if not reached:
            break
    # Namespace, credentials read and copied, role binding, Secret, pod, owner reference; the last start wasn't disturbed.
    assert len(steps) == 8
    server = installation.gateway(**settings).start()
    wait_until(lambda: steps[8] in server.kernel_ids(), timeout=30)
    wait_until(
        lambda: all(model["execution_state"] == "idle" for model in server.request("GET", "/api/kernels").json()), timeout=60
    )
    usable = server.kernel_ids()
    for kernel_id in usable:
        with KernelSocket(server, kernel_id) as client:
            assert text_of(client.run("print(6 * 7)")) == "42\n"
    wait_until_marked(cluster, usable)
    collect(cluster.instance)
    for kernel_id in steps.values():
        if kernel_id not in usable:
            wait_until(lambda kernel_id=kernel_id: cluster.objects(kernel_id) == [], timeout=30)
        else:
            assert any(entry.startswith("Pod/") for entry in cluster.objects(kernel_id))
            server.stop_kernel(kernel_id)
            wait_until(lambda kernel_id=kernel_id: cluster.objects(kernel_id) == [], timeout=30)
    # From the pod on there is something to go on with.
    assert {steps[number] for number in (6, 7, 8)} <= usable


def test_a_gateway_that_is_killed_in_a_shared_namespace_leaves_nothing_that_its_template_made(
    installation, cluster, proxy, kubeconfig, shared_namespace
):
    name = installation.add_kernelspec("documents", template=template_with_documents())
    settings = {"NAMESPACE": shared_namespace, "SHARED_NAMESPACE": "True", "LEADER_ELECTION": "False"}
    steps: dict[int, str] = {}
    for step in range(1, 20):
        kernel_id, reached = killed_in_step(installation, proxy, kubeconfig, settings, step, name=name)
        steps[step] = kernel_id
        if not reached:
            break
    # Secret, ConfigMap, Service, pod, three owner references; the last start wasn't disturbed.
    assert len(steps) == 8
    server = installation.gateway(**settings).start()
    usable = {steps[number] for number in (4, 5, 6, 7, 8)}
    wait_until(lambda: usable <= server.kernel_ids(), timeout=30)
    wait_until_marked(cluster, usable)
    for kernel_id in usable:
        server.stop_kernel(kernel_id)
    wait_until(lambda: not any(cluster.pods(kernel_id) for kernel_id in usable), timeout=30)
    collect(cluster.instance)
    for kernel_id in steps.values():
        wait_until(lambda kernel_id=kernel_id: cluster.objects(kernel_id) == [], timeout=30)
