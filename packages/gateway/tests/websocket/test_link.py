"""Restarts, deaths and slow readers, with a real kernel."""

import socket
from typing import Any

import pytest


def text_of(messages: list[dict[str, Any]], name: str = "stdout") -> str:
    return "".join(m["content"]["text"] for m in messages if m["msg_type"] == "stream" and m["content"]["name"] == name)


def _is_state(message: dict[str, Any], state: str) -> bool:
    return message["msg_type"] == "status" and message["content"]["execution_state"] == state


@pytest.mark.parametrize("newports", [False, True], ids=["same ports", "new ports"])
def test_a_client_keeps_its_websocket_over_a_restart(gateway, connect, kernel, protocol, newports):
    client = connect(protocol=protocol)
    client.run("value = 1")
    gateway.call(lambda: kernel.restart(newports=newports))
    seen = client.run("print('value' in globals())")
    assert text_of(seen) == "False\n"
    # JupyterLab would say that the kernel appears to have died.
    assert not any(_is_state(message, "restarting") for message in seen)


def test_what_a_kernel_said_last_stands_before_the_news_of_its_end(gateway, connect, kernel):
    client = connect()
    client.run("1")
    sent = client.execute("print('last words', flush=True)")
    client.until(lambda m: m["parent_header"].get("msg_id") == sent and m["channel"] == "shell")
    gateway.call(lambda: kernel.restart(newports=False, reason="The kernel was killed: out of memory."))
    seen = client.until(lambda m: _is_state(m, "restarting"))
    assert text_of(seen, "stderr") == "The kernel was killed: out of memory.\n"
    client.run("1")


def test_a_websocket_comes_before_its_kernel_is_up_and_what_it_sends_waits(gateway, connect, protocol):
    starting = gateway.start_kernel(up=False)
    client = connect(kernel=starting, protocol=protocol)
    assert client.receive()["content"] == {"execution_state": "starting"}
    sent = client.execute("print('ran')")
    gateway.wait_until(lambda: starting.link.holding)
    gateway.call(starting.start)
    assert text_of(client.collect(sent)) == "ran\n"


def test_a_websocket_comes_while_its_kernel_is_restarted_and_what_it_sends_waits(gateway, connect, kernel):
    gateway.call(lambda: kernel.link.restarting(None))
    client = connect()
    sent = client.execute("print('ran')")
    gateway.wait_until(lambda: kernel.link.holding)
    gateway.call(kernel.answers)
    assert text_of(client.collect(sent)) == "ran\n"


def test_a_request_beyond_what_may_wait_is_answered_and_counted_and_the_websocket_stays(gateway, connect, kernel):
    gateway.call(lambda: kernel.link.restarting(None))
    client, counted = connect(), gateway.metrics.counts["dropped waiting_full"]
    for _ in range(1000):
        waiting = client.execute("1")
    answers = client.collect(client.execute("one too many"))
    assert [message["msg_type"] for message in answers] == ["error", "execute_reply", "status"]
    assert gateway.metrics.counts["dropped waiting_full"] == counted + 1
    gateway.call(kernel.answers)
    client.collect(waiting)


def test_a_restart_while_the_client_is_away_is_told_when_it_comes_back(gateway, connect, kernel):
    client = connect()
    client.run("1")
    client.drop()
    gateway.wait_until(lambda: kernel.connections == 0)
    gateway.call(lambda: kernel.restart(newports=True, reason="It crashed."))
    again = connect(session=client.session)
    assert text_of(again.until(lambda m: _is_state(m, "restarting")), "stderr") == "It crashed.\n"
    assert text_of(again.run("print('well')")) == "well\n"


def test_a_message_with_a_wrong_signature_is_dropped_counted_and_logged_once(gateway, connect, kernel, caplog):
    client = connect()
    client.run("1")
    forged = [b"stream", b"<IDS|MSG>", b"0" * 64, b"{}", b"{}", b"{}", b"{}"]
    before = gateway.metrics.counts["dropped invalid_signature"]
    for _ in range(3):
        gateway.call(kernel.link._channels._received, "iopub", forged)
    assert gateway.metrics.counts["dropped invalid_signature"] == before + 3
    assert caplog.text.count("isn't signed with its kernel's key") == 1
    assert text_of(client.run("print('well')")) == "well\n"


def test_output_beyond_the_high_water_mark_stays_in_the_kernel_and_arrives_whole(gateway, connect):
    client = connect(sockopt=((socket.SOL_SOCKET, socket.SO_RCVBUF, 65536),))
    client.run("1")
    ((_, connection),) = gateway.connections._connections.items()
    sent = client.execute("for i in range(200): print(f'{i:05d}' + 'x' * 100_000, flush=True)")
    gateway.wait_until(lambda: not connection._outlet.ready)
    most = 0
    answers = []
    while not any(m["channel"] == "shell" for m in answers) or not _is_state(answers[-1], "idle"):
        most = max(most, connection._delivery.unsent)
        message = client.receive()
        if message["parent_header"].get("msg_id") == sent:
            answers.append(message)
    assert [line[:5] for line in text_of(answers).splitlines()] == [f"{i:05d}" for i in range(200)]
    assert 1 << 21 < most < (1 << 21) + 500_000


def test_a_client_that_never_reads_holds_up_nobody_else(connect):
    connect(sockopt=((socket.SOL_SOCKET, socket.SO_RCVBUF, 65536),))
    quick = connect()
    answers = quick.run("for i in range(200): print('x' * 100_000, flush=True)")
    assert len(text_of(answers)) == 200 * 100_001


def test_a_death_is_told_with_its_reason_and_what_comes_after_is_dropped(gateway, connect):
    kernel = gateway.start_kernel()
    client = connect(kernel=kernel)
    client.run("1")
    gateway.call(kernel.die, "It was evicted: the node is out of disk.")
    seen = client.until(lambda m: _is_state(m, "dead"))
    assert text_of(seen, "stderr") == "It was evicted: the node is out of disk.\n"
    client.execute("1")
    gateway.wait_until(lambda: gateway.metrics.counts["dropped kernel_gone"] == 1)
    client.close()
    gateway.wait_until(lambda: kernel.connections == 0)
    assert kernel.link.absent == 0


def test_nothing_is_kept_of_a_kernel_that_is_forgotten(gateway, connect):
    kernel = gateway.start_kernel()
    client = connect(kernel=kernel)
    client.run("print('x' * 100_000)")
    client.drop()
    gateway.wait_until(lambda: kernel.connections == 0)
    assert (kernel.link.absent, kernel.link.log.size > 100_000) == (1, True)
    gateway.call(kernel.link.close)
    assert (kernel.link.absent, kernel.link.log.size) == (0, 0)
