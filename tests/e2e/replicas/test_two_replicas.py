"""Two replicas of a gateway without session affinity: any of them serves any kernel, whatever the other one does with it."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.cells import WAITS_FOR_AN_INTERRUPT
from tests.support.installation import NAME
from tests.support.kernel_socket import KernelSocket, text_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

ID = "33333333-89ab-4cde-8f01-23456789abcd"


def state(server, kernel_id):
    answer = server.request("GET", f"/api/kernels/{kernel_id}")
    return answer.json().get("execution_state") if answer.ok else answer.status_code


def run(server, kernel_id, code):
    with KernelSocket(server, kernel_id) as client:
        return text_of(client.run(code))


def test_a_kernel_is_found_and_used_at_the_other_replica_as_soon_as_its_start_was_answered(replicas):
    one, other = replicas()
    for _ in range(3):
        kernel_id = one.start_kernel(NAME)
        assert state(other, kernel_id) in {"idle", "busy", "starting"}
        assert run(other, kernel_id, "x = 1; print(x)") == "1\n"
        assert run(one, kernel_id, "print(x)") == "1\n"
        assert other.kernel_ids() == one.kernel_ids()


def test_both_replicas_show_the_same_state(replicas, until):
    one, other = replicas()
    kernel_id = one.start_kernel(NAME)
    with KernelSocket(other, kernel_id) as client:
        client.run("pass")
        until(lambda: (state(one, kernel_id), state(other, kernel_id)) == ("idle", "idle"))
        sent = client.execute("import time; time.sleep(3)")
        until(lambda: (state(one, kernel_id), state(other, kernel_id)) == ("busy", "busy"))
        client.collect(sent)
        until(lambda: (state(one, kernel_id), state(other, kernel_id)) == ("idle", "idle"))


def test_a_kernel_is_interrupted_restarted_and_ended_through_the_other_replica_while_its_client_stays_connected(
    replicas, until, cluster
):
    one, other = replicas()
    kernel_id = one.start_kernel(NAME)
    with KernelSocket(one, kernel_id) as client:
        client.run("kept = 1")
        sent = client.execute(WAITS_FOR_AN_INTERRUPT)
        # A kernel is busy with a question of the other replica too; what interrupts it then interrupts nothing.
        client.wait_for(lambda message: message.type == "stream")
        until(lambda: state(other, kernel_id) == "busy")
        assert other.request("POST", f"/api/kernels/{kernel_id}/interrupt").status_code == 204
        assert any(message.type == "error" for message in client.collect(sent))
        answer = other.request("POST", f"/api/kernels/{kernel_id}/restart")
        assert (answer.status_code, answer.json()["execution_state"]) == (200, "idle")
        until(lambda: (state(one, kernel_id), state(other, kernel_id)) == ("idle", "idle"))
        assert text_of(client.run("print('kept' in globals())")) == "False\n"
        # And back: the replica that started it restarts what the other one did.
        assert one.request("POST", f"/api/kernels/{kernel_id}/restart").status_code == 200
        until(lambda: state(other, kernel_id) == "idle")
        assert run(other, kernel_id, "print(1)") == "1\n"
        other.stop_kernel(kernel_id)
        client.wait_for(lambda message: message.type == "status" and message.content["execution_state"] == "dead")
    until(lambda: state(one, kernel_id) == 404)
    assert (one.kernel_ids(), other.kernel_ids()) == (set(), set())
    until(lambda: cluster.objects(kernel_id) == [])
    assert "Traceback" not in one.log + other.log


def test_a_start_is_seen_and_ended_through_the_other_replica(replicas, until, cluster):
    one, other = replicas()
    body = {"name": NAME, "env": {"KERNEL_CPUS": "8", "KERNEL_ID": ID}}
    with ThreadPoolExecutor(1) as pool:
        start = pool.submit(one.request, "POST", "/api/kernels", json=body)
        until(lambda: state(other, ID) == "starting")
        until(lambda: "node" in other.request("GET", f"/api/kernels/{ID}").json().get("reason", ""))
        assert other.request("DELETE", f"/api/kernels/{ID}").status_code == 204
        assert start.result().status_code == 410
    until(lambda: (state(one, ID), state(other, ID)) == (404, 404))
    until(lambda: cluster.objects(ID) == [])
    assert "Traceback" not in one.log + other.log


def test_a_start_that_fails_vanishes_from_both(replicas, until):
    one, other = replicas()
    # Not the id of a test before this one, whose kernel may still be on its way out.
    kernel_id = str(uuid.uuid4())
    body = {"name": NAME, "env": {"KERNEL_CPUS": "8", "KERNEL_ID": kernel_id, "KERNEL_LAUNCH_TIMEOUT": "3"}}
    assert one.request("POST", "/api/kernels", json=body).status_code == 500
    until(lambda: (state(one, kernel_id), state(other, kernel_id)) == (404, 404))


def test_one_id_asked_for_at_both_replicas_at_once_is_one_kernel(replicas, until, cluster):
    both = replicas()
    body = {"name": NAME, "env": {"KERNEL_ID": ID}}
    with ThreadPoolExecutor(2) as pool:
        codes = sorted(
            answer.status_code for answer in pool.map(lambda one: one.request("POST", "/api/kernels", json=body), both)
        )
    assert codes == [200, 201]
    assert len(cluster.pods(ID)) == 1
    for replica in both:
        until(lambda replica=replica: state(replica, ID) == "idle")
        assert replica.request("POST", "/api/kernels", json=body).status_code == 200


def test_exactly_one_of_two_starts_of_the_last_kernel_at_two_replicas_succeeds(replicas, until, cluster):
    both = replicas(MAX_KERNELS_PER_USER="1")
    for _ in range(3):
        bodies = [{"name": NAME, "env": {"KERNEL_ID": str(uuid.uuid4()), "KERNEL_USERNAME": "ada"}} for _ in both]
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda replica, body: replica.request("POST", "/api/kernels", json=body), both, bodies))
        assert sorted(answer.status_code for answer in answers) == [201, 403]
        loser = next(body for answer, body in zip(answers, bodies, strict=True) if answer.status_code == 403)
        until(lambda loser=loser: cluster.objects(loser["env"]["KERNEL_ID"]) == [])
        for replica in both:
            again = {"name": NAME, "env": {"KERNEL_USERNAME": "ada"}}
            assert replica.request("POST", "/api/kernels", json=again).status_code == 403
        winner = next(answer.json()["id"] for answer in answers if answer.status_code == 201)
        both[0].stop_kernel(winner)
        until(lambda: [replica.kernel_ids() for replica in both] == [set(), set()])


def test_a_kernel_that_dies_is_started_once_and_every_client_stays_connected(replicas, until, leads, cluster):
    one, other = replicas()
    until(lambda: leads(one) != leads(other))
    for starter in (one, other):
        kernel_id = starter.start_kernel(NAME)
        with KernelSocket(one, kernel_id) as first, KernelSocket(other, kernel_id) as second:
            for client in (first, second):
                client.run("pass")
            first.execute("import os; os._exit(3)")
            for client in (first, second):
                client.wait_for(lambda message: message.type == "stream" and "status 3" in message.content["text"])
            until(lambda kernel_id=kernel_id: (state(one, kernel_id), state(other, kernel_id)) == ("idle", "idle"), 60)
            for client in (first, second):
                assert text_of(client.run("print('well')")) == "well\n"
        assert len(cluster.pods(kernel_id)) == 1
        starter.stop_kernel(kernel_id)
    started = [server.log.count("Kernel died and is started again") for server in (one, other)]
    assert sorted(started) == [0, 2]


def test_another_replica_acts_when_the_one_that_did_ends_or_is_killed(replicas, until, leads):
    one, other = replicas()
    until(lambda: leads(one) != leads(other))
    holder, second = (one, other) if leads(one) else (other, one)
    holder.stop()
    until(lambda: leads(second), 8)
    holder.start()
    second.kill()
    until(lambda: leads(holder), 40)


def test_a_kernel_that_died_while_no_gateway_ran_is_started_again(installation, until, cluster):
    gateway = installation.gateway().start(90)
    kernel_id = gateway.start_kernel(NAME)
    run(gateway, kernel_id, "import os, threading; threading.Timer(2, os._exit, [3]).start(); kept = 1")
    gateway.kill()
    # The kernel's supervisor waits for a gateway for a while, and ends the pod then.
    until(lambda: cluster.pod(kernel_id)["status"]["phase"] == "Failed", 60)
    gateway.start(90)
    until(lambda: state(gateway, kernel_id) == "idle", 60)
    assert run(gateway, kernel_id, "print('kept' in globals())") == "False\n"


def test_a_client_whose_replica_dies_goes_on_at_the_other_with_its_session(replicas):
    one, other = replicas()
    kernel_id = one.start_kernel(NAME)
    with KernelSocket(one, kernel_id) as client:
        client.run("mine = 42")
        one.kill()
        with KernelSocket(other, kernel_id, session=client.session) as again:
            assert text_of(again.run("print(mine)")) == "42\n"


def test_a_kernel_whose_client_is_connected_to_the_replica_that_does_not_cull_is_spared_until_it_leaves(replicas, until, leads):
    one, other = replicas(CULL_IDLE_TIMEOUT="8", CULL_INTERVAL="1")
    until(lambda: leads(one) != leads(other))
    holder, second = (one, other) if leads(one) else (other, one)
    used, unused = holder.start_kernel(NAME), second.start_kernel(NAME)
    with KernelSocket(second, used) as client:
        client.run("pass")
        until(lambda: state(second, unused) == 404, 60)
        # It has been idle for as long as the other one was, and longer.
        until(lambda: holder.log.count("Kernel is culled") == 1)
        assert state(holder, used) == "idle"
        assert text_of(client.run("print('here')")) == "here\n"
    until(lambda: (state(holder, used), state(second, used)) == (404, 404), 60)
    assert "Kernel is culled" not in second.log


def test_unknown_ids_cost_the_api_server_little(replicas):
    one, _ = replicas()
    answers = {one.request("GET", f"/api/kernels/{number:08x}-89ab-4cde-8f01-23456789abcd").status_code for number in range(60)}
    assert answers <= {404, 503}
    assert 404 in answers


def test_a_loss_that_one_replica_writes_is_the_kernels_end_for_the_clients_of_both_and_leads_to_one_start(
    replicas, until, cluster
):
    one, other = replicas()
    kernel_id = one.start_kernel(NAME)
    pod = cluster.pod(kernel_id)["metadata"]

    def says_why(message):
        return message.type == "stream" and "doesn't answer any more" in message.content["text"]

    with KernelSocket(one, kernel_id) as first, KernelSocket(other, kernel_id) as second:
        first.run("kept = 1")
        lost = "enterprise-gateway.jupyter.org/lost=2026-01-01T00:00:00Z"
        cluster.kubectl("-n", pod["namespace"], "annotate", "pod", pod["name"], lost)
        for client in (first, second):
            client.wait_for(says_why)
        until(lambda: (state(one, kernel_id), state(other, kernel_id)) == ("idle", "idle"))
        assert text_of(second.run("print('kept' in globals())")) == "False\n"
    assert cluster.pod(kernel_id)["metadata"]["uid"] != pod["uid"]
    one.stop_kernel(kernel_id)
    until(lambda: cluster.objects(kernel_id) == [])
