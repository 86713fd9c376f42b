"""What a user does with a kernel, whatever its language: the same of each kernelspec that is delivered."""

from __future__ import annotations

import time

import pytest
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

_SECONDS = 60


def reply_of(messages):
    return next(message for message in messages if message.type.endswith("_reply")).content


def shown_by(messages):
    return [message.content["data"] for message in messages if message.type in {"execute_result", "display_data"}]


def test_a_first_cell_prints_and_text_outside_of_ascii_arrives_whole(client, language):
    assert text_of(client.run(language.hello, _SECONDS)).splitlines() == ["hello, world é"]


def test_a_kernel_says_what_it_is(client, language):
    told = reply_of(client.collect(client.send("shell", "kernel_info_request", {}), _SECONDS))
    assert told["status"] == "ok"
    assert told["language_info"]["name"].lower() == language.name


def test_names_live_from_cell_to_cell(client, language):
    assert reply_of(client.run(language.remember, _SECONDS))["status"] == "ok"
    assert text_of(client.run(language.recall, _SECONDS)).split() == ["42"]


def test_the_value_of_a_cell_is_shown(client, language):
    (shown,) = shown_by(client.run(language.value, _SECONDS))
    assert "42" in shown["text/plain"]


def test_an_error_is_told_as_one_and_the_kernel_goes_on(client, language):
    messages = client.run(language.error, _SECONDS)
    assert reply_of(messages)["status"] == "error"
    (error,) = [message.content for message in messages if message.type == "error"]
    assert "wrong" in error["evalue"] + "".join(error["traceback"])
    assert reply_of(client.run(language.hello, _SECONDS))["status"] == "ok"


def test_a_picture_or_rich_output_is_shown(client, language):
    code, kind = language.picture
    assert any(kind in shown for shown in shown_by(client.run(code, _SECONDS)))


def test_a_name_is_completed(client, language):
    code, completion = language.complete
    told = reply_of(client.collect(client.send("shell", "complete_request", {"code": code, "cursor_pos": len(code)}), _SECONDS))
    assert completion in told["matches"]


def test_a_name_is_explained(client, language):
    code, word = language.inspect
    content = {"code": code, "cursor_pos": len(code), "detail_level": 0}
    told = reply_of(client.collect(client.send("shell", "inspect_request", content), _SECONDS))
    assert told["found"]
    assert word in str(told["data"])


def test_code_that_goes_on_is_told_from_code_that_is_complete(client, language):
    for code, status in ((language.incomplete, "incomplete"), (language.value, "complete")):
        told = reply_of(client.collect(client.send("shell", "is_complete_request", {"code": code}), _SECONDS))
        assert told["status"] == status


def test_a_cell_can_ask_its_user(client, language):
    sent = client.execute(language.asks, allow_stdin=True)
    asked = client.wait_for(lambda message: message.type == "input_request", _SECONDS)
    assert asked.content["prompt"] == "name? "
    client.send("stdin", "input_reply", {"value": "Ada", "status": "ok"})
    assert "hello, Ada" in text_of(client.collect(sent, _SECONDS))


@pytest.mark.parametrize("cell", ["loop", "child"])
def test_an_interrupt_ends_a_cell_and_the_kernel_goes_on(client, server, shared_kernel, language, cell):
    sent = client.execute(getattr(language, cell))
    client.wait_for(lambda message: message.type == "stream" and "begun" in message.content["text"], _SECONDS)
    assert server.request("POST", f"/api/kernels/{shared_kernel}/interrupt", json={}).status_code == 204
    assert reply_of(client.collect(sent, 15))
    assert text_of(client.run(language.hello, _SECONDS)).split()


def test_an_interrupt_that_a_client_sends_itself_does_the_same_and_is_answered(client, language):
    sent = client.execute(language.loop)
    client.wait_for(lambda message: message.type == "stream" and "begun" in message.content["text"], _SECONDS)
    interrupt = client.send("control", "interrupt_request", {})
    answered = {message.parent: message for message in client.until(_both_answered(sent, interrupt), 15)}
    assert set(answered) >= {sent.id, interrupt.id}
    assert text_of(client.run(language.hello, _SECONDS)).split()


def _both_answered(*requests):
    left = {request.id for request in requests}

    def seen(message):
        if message.type.endswith("_reply"):
            left.discard(message.parent)
        return not left

    return seen


@pytest.mark.parametrize("kind", ["kernel_info_request", "usage_request", "create_subshell_request", "debug_request"])
def test_what_a_client_asks_on_the_control_channel_is_answered_although_the_kernel_may_not_know_it(client, kind):
    content = {"type": "request", "seq": 1, "command": "debugInfo", "arguments": {}} if kind == "debug_request" else {}
    told = client.collect(client.send("control", kind, content), 15)
    assert reply_of(told)


def test_a_restart_keeps_the_pod_and_its_files_and_forgets_the_names(server, own_kernel, language, installation):
    kernel_id = own_kernel()
    pod = installation.cluster.pod(kernel_id)["metadata"]["uid"]
    with KernelSocket(server, kernel_id) as client:
        for code in (language.remember, language.write):
            assert reply_of(client.run(code, _SECONDS))["status"] == "ok"
        assert server.request("POST", f"/api/kernels/{kernel_id}/restart", json={}).status_code == 200
        assert text_of(client.run(language.read, _SECONDS)).lower().split() == ["true"]
        assert reply_of(client.run(language.recall, _SECONDS))["status"] == "error"
    assert installation.cluster.pod(kernel_id)["metadata"]["uid"] == pod


def test_a_kernel_that_crashes_is_started_again_and_its_client_is_told_why(server, own_kernel, language):
    kernel_id = own_kernel()
    with KernelSocket(server, kernel_id) as client:
        told = client.run(language.crash, _SECONDS)
        assert reply_of(told)["ename"] == "DeadKernelError"
        assert "SIGKILL" in reply_of(told)["evalue"]
        wait_until(
            lambda: server.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"] == "idle", timeout=_SECONDS
        )
        assert text_of(client.run(language.hello, _SECONDS)).split()


def test_the_end_of_a_kernel_is_quick_and_leaves_nothing(server, own_kernel, language, installation):
    kernel_id = own_kernel()
    began = time.monotonic()
    server.stop_kernel(kernel_id)
    assert time.monotonic() - began < 30, "the kernel didn't end by itself"
    wait_until(lambda: installation.cluster.objects(kernel_id) == [], timeout=60)
