"""Starts that hold nobody up, where several replicas know a kernel only by its pod."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.support.gated_kernels import GatedKernels
from tests.support.installation import NAME
from tests.support.kernel_socket import KernelSocket, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.installation import Installation

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

PENDING = {"PENDING_STARTS": "True", "UNSCHEDULABLE_GRACE": "120", "IMAGE_PULL_GRACE": "3"}


@pytest.fixture
def gated(installation: Installation) -> Iterator[GatedKernels]:
    with GatedKernels(installation) as gated:
        yield gated


def model(server, kernel_id):
    answer = server.request("GET", f"/api/kernels/{kernel_id}")
    return answer.json() if answer.ok else {"execution_state": answer.status_code}


def state(server, kernel_id):
    return model(server, kernel_id)["execution_state"]


def until_dead(client):
    return list(client.until(lambda message: message.content.get("execution_state") == "dead", 60))


def test_cells_run_that_were_sent_to_either_replica_before_the_kernel_was_up(replicas, gated, until):
    one, other = replicas(**PENDING)
    kernel_id = one.start_kernel(gated.name)
    with KernelSocket(one, kernel_id) as here, KernelSocket(other, kernel_id) as there:
        assert [client.receive().content for client in (here, there)] == [{"execution_state": "starting"}] * 2
        sent = [
            client.execute("kept = globals().get('kept', 0) + 1; print('ran')", store_history=True) for client in (here, there)
        ]
        # The words of the kernel's model stand below the cell, at each of them.
        for client, cell in zip((here, there), sent, strict=True):
            line = client.wait_for(lambda message: message.type == "display_data")
            assert line.parent == cell.id
            assert "nodes are available" in line.content["data"]["text/plain"]
        until(lambda: "nodes are available" in model(other, kernel_id)["reason"])
        gated.open()
        told = [client.collect(cell, 60) for client, cell in zip((here, there), sent, strict=True)]
        assert [text_of(messages) for messages in told] == ["ran\n", "ran\n"]
        assert all("clear_output" in [message.type for message in messages] for messages in told)
        assert text_of(here.run("print(kept)")) == "2\n"
    # What was said at one goes on at the other.
    with KernelSocket(other, kernel_id, session=here.session) as moved:
        assert text_of(moved.run("print(kept)")) == "2\n"
    assert "Traceback" not in one.log + other.log


def test_a_start_that_fails_tells_why_at_both_replicas_and_stays_there(replicas, installation, until, cluster):
    missing = installation.add_kernelspec("no-such-image", config={"image_name": "elyra/does-not-exist:1"})
    one, other = replicas(**PENDING)
    kernel_id = one.start_kernel(missing)
    with KernelSocket(one, kernel_id) as here, KernelSocket(other, kernel_id) as there:
        sent = [client.execute("1") for client in (here, there)]
        for client, cell in zip((here, there), sent, strict=True):
            answers = [message for message in until_dead(client) if message.parent == cell.id]
            assert [message.type for message in answers] == ["error", "execute_reply", "status"]
            assert "does-not-exist:1" in answers[0].content["evalue"]
    for server in (one, other):
        assert (state(server, kernel_id), "does-not-exist:1" in model(server, kernel_id)["reason"]) == ("dead", True)
        assert kernel_id in server.kernel_ids()
    until(lambda: cluster.objects(kernel_id) == [])
    assert other.request("POST", f"/api/kernels/{kernel_id}/restart").status_code == 410
    for server in (other, one):
        assert server.request("DELETE", f"/api/kernels/{kernel_id}").status_code == 204
        assert state(server, kernel_id) == 404


def test_a_kernel_that_never_came_up_can_be_started_again_where_it_was_started(replicas, installation, until, cluster):
    missing = installation.add_kernelspec("no-such-image", config={"image_name": "elyra/does-not-exist:1"})
    one, _ = replicas(**PENDING)
    kernel_id = one.start_kernel(missing)
    until(lambda: state(one, kernel_id) == "dead")
    again = one.request("POST", f"/api/kernels/{kernel_id}/restart")
    assert (again.status_code, "does-not-exist:1" in again.json()["message"]) == (500, True)
    assert state(one, kernel_id) == "dead"
    until(lambda: cluster.objects(kernel_id) == [])


def test_what_kubernetes_refuses_is_refused_in_the_answer(replicas, until, cluster):
    one, other = replicas(**PENDING)
    kernel_id = str(uuid.uuid4())
    env = {"KERNEL_ID": kernel_id, "KERNEL_VOLUME_MOUNTS": "[{name: nothing, mountPath: /data}]"}
    answer = one.request("POST", "/api/kernels", json={"name": NAME, "env": env})
    assert (answer.status_code, "volumeMounts[0].name" in answer.json()["message"]) == (400, True)
    until(lambda: (state(one, kernel_id), state(other, kernel_id), cluster.objects(kernel_id)) == (404, 404, []))


def test_of_two_starts_of_the_last_kernel_one_is_refused_in_its_answer(replicas, gated, until, cluster):
    both = replicas(MAX_KERNELS_PER_USER="1", **PENDING)
    bodies = [{"name": gated.name, "env": {"KERNEL_ID": str(uuid.uuid4()), "KERNEL_USERNAME": "ada"}} for _ in both]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda replica, body: replica.request("POST", "/api/kernels", json=body), both, bodies))
    assert sorted(answer.status_code for answer in answers) == [201, 403]
    loser = next(body["env"]["KERNEL_ID"] for answer, body in zip(answers, bodies, strict=True) if answer.status_code == 403)
    until(lambda: cluster.objects(loser) == [])


def test_a_start_is_ended_through_the_other_replica(replicas, gated, until, cluster):
    one, other = replicas(**PENDING)
    kernel_id = one.start_kernel(gated.name)
    with KernelSocket(one, kernel_id) as client:
        client.execute("1")
        until(lambda: state(other, kernel_id) == "starting")
        other.stop_kernel(kernel_id)
        assert "deleted while it started" in until_dead(client)[-2].content["text"]
    until(lambda: (state(one, kernel_id), state(other, kernel_id), cluster.objects(kernel_id)) == (404, 404, []))


def test_a_replica_that_is_stopped_leaves_its_starts_to_the_other_and_answers_what_waits_at_it(replicas, gated, until):
    one, other = replicas(DRAIN_TIMEOUT="1", **PENDING)
    kernel_id = one.start_kernel(gated.name)
    with KernelSocket(one, kernel_id) as client:
        sent = client.execute("1")
        client.wait_for(lambda message: message.content.get("execution_state") == "starting")
        one.stop()
        _, reply, _ = client.collect(sent)
        assert "was stopped. Run it again." in reply.content["evalue"]
    with KernelSocket(other, kernel_id, session=client.session) as moved:
        again = moved.execute("print('ran')")
        gated.open()
        assert text_of(moved.collect(again, 60)) == "ran\n"
    assert "Traceback" not in one.log + other.log


def test_a_kernel_that_nobody_asks_any_replica_for_is_gone_after_its_time(replicas, until, cluster):
    one, other = replicas(**(PENDING | {"PENDING_START_TIMEOUT": "15", "KERNEL_LAUNCH_TIMEOUT": "15"}))
    unclaimed = one.request("POST", "/api/kernels", json={"name": NAME, "env": {"KERNEL_LAUNCH_TIMEOUT": "15"}}).json()["id"]
    asked_for = one.request("POST", "/api/kernels", json={"name": NAME, "env": {"KERNEL_LAUNCH_TIMEOUT": "15"}}).json()["id"]
    with KernelSocket(other, asked_for) as client:
        client.run("1")
    until(lambda: cluster.objects(unclaimed) == [], 60)
    assert one.kernel_ids() == other.kernel_ids() == {asked_for}
    assert 'kernels_culled_total{reason="unclaimed"} 1.0' in one.request("GET", "/metrics").text
