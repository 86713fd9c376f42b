"""Pods that wait for a start, and what becomes of them when it comes."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.installation import NAME
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.waiting import wait_until

from enterprise_gateway_common import labels

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

ALICE = {"KERNEL_USERNAME": "alice", "KERNEL_SECRET_OF_HERS": "topsecret"}
WHO = "import os; print(os.environ['KERNEL_USERNAME'], os.environ['KERNEL_ID'])"


def says(server, kernel_id, code):
    with KernelSocket(server, kernel_id) as client:
        return text_of(client.run(code, 60)).split()


def uid_of(pod):
    return pod["metadata"]["uid"]


def test_a_start_takes_a_pod_that_was_there_and_the_pool_is_filled_again(gateway, pool, cluster):
    server = gateway()
    waiting = {uid_of(pod) for pod in (pool.wait(2), pool.pods())[1]}
    kernel_id = server.start_kernel(NAME, env=ALICE)
    pod = cluster.pod(kernel_id)
    assert uid_of(pod) in waiting
    assert pod["metadata"]["labels"][labels.COMPONENT] == labels.COMPONENT_KERNEL
    assert pod["metadata"]["annotations"][labels.USERNAME_ANNOTATION] == "alice"
    assert says(server, kernel_id, WHO) == ["alice", kernel_id]
    pool.wait(2)
    server.stop_kernel(kernel_id)
    wait_until(lambda: not cluster.objects(kernel_id), timeout=30)


def test_pods_in_waiting_are_no_kernels_and_hold_nothing_of_a_user(gateway, pool, cluster):
    server = gateway()
    kernel_id = server.start_kernel(NAME, env=ALICE)
    (name, _) = pool.wait(2)
    assert [model["id"] for model in server.request("GET", "/api/kernels").json()] == [kernel_id]
    shown = ["cat /proc/*/environ", "cat /proc/mounts", "find / -xdev -newer /proc/1 -type f"]
    inside = [
        cluster.kubectl("exec", "-n", pool.namespace, name, "--", "sh", "-c", f"{each} 2>/dev/null || true") for each in shown
    ]
    described = cluster.kubectl(
        "get", "pod,secret", "-n", pool.namespace, "-l", f"component={labels.COMPONENT_POOL}", "-o", "yaml"
    )
    log = cluster.kubectl("logs", "-n", pool.namespace, name)
    for text in (*inside, described, log):
        assert "alice" not in text
        assert "topsecret" not in text
    server.stop_kernel(kernel_id)


def test_a_start_that_asks_for_another_pod_gets_one_of_its_own(gateway, pool, cluster):
    server = gateway("python_kubernetes=1")
    pool.wait(1)
    (waiting,) = pool.pods()
    kernel_id = server.start_kernel(NAME, env={**ALICE, "KERNEL_MEMORY_LIMIT": "1Gi"})
    assert uid_of(cluster.pod(kernel_id)) != uid_of(waiting)
    assert [uid_of(pod) for pod in pool.pods()] == [uid_of(waiting)]
    server.stop_kernel(kernel_id)


def test_starts_at_two_replicas_share_a_pool_and_none_gets_anothers_pod(installation, namespace, pool, cluster):
    settings = {"KERNEL_NAMESPACES": namespace, "WARM_POOLS": f"{NAME}=2"}
    replicas = [installation.gateway(**settings) for _ in range(2)]
    for each in replicas:
        each.launch()
    replicas = [each.wait_ready(90) for each in replicas]
    waiting = {uid_of(pod) for pod in (pool.wait(2), pool.pods())[1]}
    with ThreadPoolExecutor(4) as threads:
        kernels = list(threads.map(lambda number: replicas[number % 2].start_kernel(NAME, env=ALICE), range(4)))
    pods = [cluster.pod(kernel_id) for kernel_id in kernels]
    assert len({uid_of(pod) for pod in pods}) == 4
    assert len(waiting & {uid_of(pod) for pod in pods}) == 2
    for number, kernel_id in enumerate(kernels):
        # At the other replica, which has adopted it.
        assert says(replicas[1 - number % 2], kernel_id, WHO) == ["alice", kernel_id]
        replicas[0].stop_kernel(kernel_id)


def test_a_claimed_kernel_keeps_its_environment_over_a_restart_and_another_gateway(gateway, pool):
    server = gateway()
    pool.wait(2)
    kernel_id = server.start_kernel(NAME, env=ALICE)
    server.kill()
    server.start()
    wait_until(lambda: server.request("GET", f"/api/kernels/{kernel_id}").json().get("execution_state") == "idle", timeout=30)
    assert server.request("POST", f"/api/kernels/{kernel_id}/restart", json={}).status_code == 200
    assert says(server, kernel_id, WHO) == ["alice", kernel_id]
    server.stop_kernel(kernel_id)


def test_a_pod_that_somebody_deletes_is_made_anew(gateway, pool, cluster):
    gateway("python_kubernetes=1")
    (name,) = pool.wait(1)
    cluster.kubectl("delete", "pod", "-n", pool.namespace, name, "--now")
    assert pool.wait(1) != [name]


def test_pods_of_a_kernelspec_that_changed_are_replaced(gateway, pool, installation):
    gateway("python_kubernetes=1")
    (name,) = pool.wait(1)
    spec = json.loads(installation.kernelspec_text(NAME))
    spec["env"]["PYTHONHASHSEED"] = "1"
    installation.write_kernelspec(NAME, spec, {})
    wait_until(lambda: pool.ready() not in ([], [name]), timeout=60)
    (pod,) = pool.pods()
    assert {"name": "PYTHONHASHSEED", "value": "1"} in pod["spec"]["containers"][0]["env"]


def test_pods_in_waiting_make_room_where_a_quota_has_none(gateway, pool, cluster):
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "pods"}, "spec": {"hard": {"pods": "2"}}}
    server = gateway()
    pool.wait(2)
    cluster.kubectl("apply", "-n", pool.namespace, "-f", "-", input=json.dumps(quota))
    kernel_id = server.start_kernel(NAME, env={"KERNEL_MEMORY_LIMIT": "1Gi"})
    assert says(server, kernel_id, "print(6 * 7)") == ["42"]
    server.stop_kernel(kernel_id)


def test_a_start_whose_claimed_pod_does_nothing_gets_a_new_one(gateway, pool, cluster):
    server = gateway("python_kubernetes=1")
    pool.wait(1)
    (waiting,) = pool.pods()
    os.kill(supervisor_of(waiting), signal.SIGSTOP)
    kernel_id = server.start_kernel(NAME, env=ALICE)
    assert uid_of(cluster.pod(kernel_id)) != uid_of(waiting)
    assert says(server, kernel_id, WHO) == ["alice", kernel_id]
    server.stop_kernel(kernel_id)


def supervisor_of(pod):
    """Return the number that this machine, which has the nodes, knows the supervisor of a pod by."""
    pool_id = pod["spec"]["containers"][0]["command"][2].encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.endswith(b"launch-kernel") for word in words[:2]) and pool_id in words:
            return int(entry.name)
    if os.environ.get("REQUIRE_E2E") == "1":
        pytest.fail("REQUIRE_E2E=1, and the supervisor isn't a process of this machine")
    return pytest.skip("the supervisor isn't a process of this machine")


def test_the_log_says_why_a_kernelspec_can_have_no_pool(gateway, pool, installation):
    template = "kind: Pod\nspec: {containers: [{name: kernel, image: {{ kernel_image }}, workingDir: '/{{ kernel_username }}'}]}"
    installation.add_kernelspec("homes", template=template)
    server = gateway("homes=1")
    wait_until(lambda: "its template prints what differs from kernel to kernel" in server.log, timeout=30)
    assert pool.pods() == []


@pytest.mark.parametrize(
    ("kernelspec", "image", "code"),
    [
        ("R_kubernetes", "elyra/kernel-r:dev", 'cat(Sys.getenv("KERNEL_USERNAME"), Sys.getenv("KERNEL_ID"))'),
        ("scala_kubernetes", "elyra/kernel-scala:dev", 'println(sys.env("KERNEL_USERNAME") + " " + sys.env("KERNEL_ID"))'),
    ],
)
def test_other_languages_begin_in_the_claimed_environment_too(gateway, pool, cluster, installation, kernelspec, image, code):
    installation.deliver(kernelspec, image=os.environ.get(f"EG_E2E_{kernelspec.split('_')[0].upper()}_IMAGE", image))
    server = gateway(f"{kernelspec}=1")
    pool.wait(1)
    (waiting,) = pool.pods()
    kernel_id = server.start_kernel(kernelspec, env=ALICE)
    assert uid_of(cluster.pod(kernel_id)) == uid_of(waiting)
    assert says(server, kernel_id, code) == ["alice", kernel_id]
    server.stop_kernel(kernel_id)
