"""What kernels in pods ran, as each of two replicas knows it."""

from __future__ import annotations

import pytest
from tests.support.installation import NAME

GATE = "/tmp/gate"  # noqa: S108  of the pod, where nobody else is

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


def path_of(kernel_id, msg_id=None):
    return f"/api/kernels/{kernel_id}/executions" + (f"/{msg_id}" if msg_id else "")


def ask_for(server, kernel_id, code, **rest):
    answer = server.request("POST", path_of(kernel_id), json={"code": code, **rest})
    assert answer.status_code == 202, answer.text
    return answer.json()["msg_id"]


def model(server, kernel_id, msg_id):
    answer = server.request("GET", path_of(kernel_id, msg_id))
    return answer.json() if answer.ok else {"state": answer.status_code, "outputs": []}


def text_of(server, kernel_id, msg_id):
    return "".join(output.get("text", "") for output in model(server, kernel_id, msg_id)["outputs"])


def test_both_replicas_tell_what_a_kernel_ran_through_one_of_them(replicas, until):
    one, other = replicas()
    kernel_id = one.start_kernel(NAME)
    until(lambda: other.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"] == "idle")
    msg_id = ask_for(one, kernel_id, "print('said'); 6 * 7", metadata={"cellId": "of-one"})
    for replica in (one, other):
        until(lambda replica=replica: model(replica, kernel_id, msg_id)["state"] == "ok")
    known, heard = model(one, kernel_id, msg_id), model(other, kernel_id, msg_id)
    assert known["outputs"] == heard["outputs"]
    assert [output["output_type"] for output in known["outputs"]] == ["stream", "execute_result"]
    assert (heard["code"], heard["execution_count"], heard["truncated"]) == (known["code"], known["execution_count"], False)
    assert (known["metadata"], heard["metadata"]) == ({"cellId": "of-one"}, {"cellId": "of-one"})


def test_a_restart_through_one_replica_ends_at_both_what_ran(replicas, until):
    one, other = replicas()
    kernel_id = one.start_kernel(NAME)
    until(lambda: other.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"] == "idle")
    msg_id = ask_for(one, kernel_id, "import time; print('begun', flush=True); time.sleep(600)")
    until(lambda: text_of(other, kernel_id, msg_id) == "begun\n")
    assert other.request("POST", f"/api/kernels/{kernel_id}/restart").status_code == 200
    for replica in (one, other):
        until(lambda replica=replica: model(replica, kernel_id, msg_id)["state"] == "error")
        # The kernel's own last word, where it had the time for one, or the gateway's.
        assert model(replica, kernel_id, msg_id)["outputs"][-1]["ename"] in {"KeyboardInterrupt", "DeadKernelError"}


def test_a_gateway_that_comes_in_mid_cell_tells_all_of_it(replicas, installation, until):
    one, _ = replicas()
    kernel_id = one.start_kernel(NAME)
    wait = f"while not os.path.exists('{GATE}'): time.sleep(0.05)"
    msg_id = ask_for(one, kernel_id, f"import os, time\nprint('before', flush=True)\n{wait}\nprint('after')")
    until(lambda: text_of(one, kernel_id, msg_id) == "before\n")
    late = installation.gateway()
    late.launch().wait_ready(90)
    until(lambda: kernel_id in late.kernel_ids())
    assert text_of(late, kernel_id, msg_id) == "before\n"
    pod = installation.cluster.pods(kernel_id)[0]["metadata"]
    installation.cluster.kubectl("exec", "-n", pod["namespace"], pod["name"], "--", "touch", GATE)
    until(lambda: model(late, kernel_id, msg_id)["state"] == "ok")
    assert not model(late, kernel_id, msg_id)["truncated"]
    assert text_of(late, kernel_id, msg_id) == "before\nafter\n"
    assert text_of(one, kernel_id, msg_id) == "before\nafter\n"
