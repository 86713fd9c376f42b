"""A gateway outside of the cluster, real pods, and the plain websocket client."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.support.installation import template_with_documents
from tests.support.kernel_socket import KernelSocket, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

NAME = "python_kubernetes"


def until(check: Callable[[], bool], seconds: float = 30) -> None:
    """Return when a check holds: what the cluster does by itself has no event that a test could wait for."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.2)


def run(server, kernel_id, code):
    with KernelSocket(server, kernel_id) as client:
        return text_of(client.run(code))


def test_a_cell_runs_in_a_pod_as_its_user_with_nothing_of_the_gateways_environment(gateway, cluster):
    server = gateway().start()
    kernel_id = server.start_kernel(NAME, env={"KERNEL_USERNAME": "ada", "KERNEL_GREETING": "{{ 7 * 7 }} $(id) 'x'"})
    code = (
        "import os; print(os.getuid(), os.environ['KERNEL_USERNAME'], os.environ['KERNEL_GREETING'], 'KUBECONFIG' in os.environ)"
    )
    assert run(server, kernel_id, code) == "1000 ada {{ 7 * 7 }} $(id) 'x' False\n"
    pod = cluster.pod(kernel_id)
    assert pod["metadata"]["labels"]["app"] == "enterprise-gateway"
    assert pod["metadata"]["labels"]["component"] == "kernel"
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_the_end_of_a_kernel_leaves_nothing(gateway, cluster):
    server = gateway().start()
    kernel_id = server.start_kernel(NAME)
    assert cluster.objects(kernel_id)
    server.stop_kernel(kernel_id)
    until(lambda: cluster.objects(kernel_id) == [])


def test_what_a_template_makes_beside_the_pod_is_the_pods_over_every_restart(installation, gateway, cluster):
    def owners():
        found = json.loads(cluster.kubectl("get", "configmaps,services", "-A", "-l", f"kernel_id={kernel_id}", "-o", "json"))
        return {item["kind"]: [owner["uid"] for owner in item["metadata"]["ownerReferences"]] for item in found["items"]}

    installation.add_kernelspec("documents", template=template_with_documents())
    server = gateway().start()
    kernel_id = server.start_kernel("documents", env={"KERNEL_USERNAME": "ada"})
    pods = [cluster.pod(kernel_id)["metadata"]["uid"]]
    assert owners() == {"ConfigMap": pods, "Service": pods}
    run(server, kernel_id, "kept = 1")
    for _ in range(2):
        assert server.request("POST", f"/api/kernels/{kernel_id}/restart", json={}).status_code == 200
        assert run(server, kernel_id, "print('kept' in globals())") == "False\n"
        pods = [cluster.pod(kernel_id)["metadata"]["uid"]]
        assert owners() == {"ConfigMap": pods, "Service": pods}
    server.stop_kernel(kernel_id)
    until(lambda: cluster.objects(kernel_id) == [])


def test_kernels_of_a_killed_gateway_are_found_again_with_their_memory_and_the_clock_of_their_idleness(gateway):
    server = gateway().start()
    kernels = [server.start_kernel(NAME) for _ in range(3)]
    for kernel_id in kernels:
        run(server, kernel_id, f"mine = {kernel_id!r}")
    server.kill()
    server.start()
    assert server.kernel_ids() == set(kernels)
    for kernel_id in kernels:
        assert run(server, kernel_id, "print(mine)") == kernel_id + "\n"


def test_a_gateway_that_is_stopped_lets_kernels_live_and_the_next_one_restarts_and_ends_them(gateway, cluster):
    server = gateway().start()
    kernel_id = server.start_kernel(NAME)
    run(server, kernel_id, "kept = 1")
    assert server.stop() == 0
    assert cluster.pod(kernel_id)["status"]["phase"] == "Running"
    server.start()
    assert run(server, kernel_id, "print(kept)") == "1\n"
    assert server.request("POST", f"/api/kernels/{kernel_id}/restart", json={}).status_code == 200
    assert run(server, kernel_id, "print('kept' in globals())") == "False\n"
    server.stop_kernel(kernel_id)
    until(lambda: cluster.objects(kernel_id) == [])


def test_a_pod_that_is_deleted_by_hand_is_started_again_under_the_same_id_and_websocket(gateway, cluster):
    server = gateway().start()
    kernel_id = server.start_kernel(NAME)
    with KernelSocket(server, kernel_id) as client:
        client.run("pass")
        cluster.kubectl("delete", "pods", "--all-namespaces", "-l", f"kernel_id={kernel_id}", "--wait=false")
        client.wait_for(lambda message: message.type == "status" and message.content["execution_state"] == "restarting")
        until(lambda: server.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"] == "idle")
        assert text_of(client.run("print('well')")) == "well\n"


def test_what_keeps_a_start_waiting_is_in_the_model_and_in_the_end_in_the_answer(gateway, cluster):
    server = gateway().start()
    env = {"KERNEL_CPUS": "8", "KERNEL_LAUNCH_TIMEOUT": "4", "KERNEL_ID": "01234567-89ab-4cde-8f01-23456789abcd"}
    answer = server.request("POST", "/api/kernels", json={"name": NAME, "env": env})
    assert answer.status_code == 500
    assert "Insufficient cpu" in answer.json()["message"]
    until(lambda: cluster.objects(env["KERNEL_ID"]) == [])


def test_a_kernel_that_is_deleted_while_it_starts_leaves_nothing(gateway, cluster):
    server = gateway().start()
    kernel_id = "11111111-89ab-4cde-8f01-23456789abcd"
    body = {"name": NAME, "env": {"KERNEL_CPUS": "8", "KERNEL_ID": kernel_id}}
    with ThreadPoolExecutor(1) as pool:
        start = pool.submit(server.request, "POST", "/api/kernels", json=body)
        until(lambda: "node" in server.request("GET", f"/api/kernels/{kernel_id}").json().get("reason", ""))
        server.stop_kernel(kernel_id)
        assert start.result().status_code == 410
    until(lambda: cluster.objects(kernel_id) == [])


@pytest.mark.parametrize(
    ("env", "status"),
    [
        ({"KERNEL_IMAGE": "somebody/else:1"}, 403),
        ({"KERNEL_NAMESPACE": "kube-system"}, 403),
        ({"KERNEL_SERVICE_ACCOUNT_NAME": "admin"}, 403),
        ({"KERNEL_VOLUMES": '[{"name": "x", "hostPath": {"path": "/"}}]'}, 403),
        ({"KERNEL_UID": "0"}, 403),
        ({"KERNEL_CPUS": "many"}, 400),
        ({"KERNEL_LAUNCH_TIMEOUT": "-1"}, 400),
    ],
)
def test_what_is_not_allowed_is_refused_before_anything_is_made(gateway, cluster, env, status):
    server = gateway().start()
    kernel_id = "22222222-89ab-4cde-8f01-23456789abcd"
    answer = server.request("POST", "/api/kernels", json={"name": NAME, "env": {**env, "KERNEL_ID": kernel_id}})
    assert (answer.status_code, set(answer.json())) == (status, {"reason", "message"})
    assert cluster.objects(kernel_id) == []


@pytest.mark.parametrize("limit", ["5", "0"], ids=["restarted", "given up"])
def test_a_cell_that_runs_out_of_memory_is_answered_with_the_cause(gateway, limit):
    server = gateway(RESTART_LIMIT=limit).start()
    kernel_id = server.start_kernel(NAME, env={"KERNEL_MEMORY_LIMIT": "150Mi"})
    with KernelSocket(server, kernel_id) as client:
        answers = client.run("x = bytearray(1024 ** 3)", timeout=60)
    told = [message.content for message in answers if message.type in {"error", "execute_reply"}]
    assert len(told) == 2
    for content in told:
        assert content["ename"] == "DeadKernelError"
        assert "OOMKilled" in content["evalue"]
        assert "150Mi" in content["evalue"]
