"""What an administrator sets, in force on a real connection."""

import threading

import pytest
import websocket

from enterprise_gateway.websocket.options import V1_PROTOCOL, WebsocketOptions


@pytest.fixture(scope="module")
def gateway_options():
    return WebsocketOptions(
        max_message_bytes=10_000,
        max_connections=3,
        allowed_message_types=frozenset({"execute_request"}),
        allow_tracebacks=False,
        traceback_replacement_message="Ask your administrator.",
        compression=True,
        protocol="",
        ping_interval=0.05,
        iopub_message_rate=100,
        rate_window=1,
    )


def _errors(messages):
    return [m["content"] for m in messages if m["msg_type"] == "error"]


def test_a_message_that_is_too_large_closes_its_websocket_with_1009(connect):
    client = connect()
    client.socket.send("x" * 10_001)
    assert client.closing_code() == 1009


def test_a_type_that_is_not_allowed_is_dropped_and_counted(gateway, connect):
    client = connect()
    client.send("shell", "complete_request", {"code": "", "cursor_pos": 0})
    client.run("1")
    assert gateway.metrics.counts["dropped not_allowed"] == 1


def test_tracebacks_are_replaced_in_the_output_and_in_the_reply(connect):
    messages = connect().run("{}['secret']")
    (error,) = _errors(messages)
    hidden = {"ename": "ExecutionError", "evalue": "Execution error", "traceback": ["Ask your administrator."]}
    assert error == hidden
    (reply,) = (m["content"] for m in messages if m["msg_type"] == "execute_reply")
    assert reply.items() >= {"status": "error", **hidden}.items()
    assert "KeyError" not in str(messages)


def test_what_a_kernel_died_of_is_said_though_tracebacks_are_hidden(gateway, connect):
    dying = gateway.start_kernel()
    client = connect(kernel=dying)
    sent = client.execute("import time; print('begun', flush=True); time.sleep(600)")
    client.until(lambda message: message["msg_type"] == "stream")
    gateway.call(dying.die, "The kernel ran out of memory.")
    told = client.until(lambda message: message["content"].get("execution_state") == "dead")
    causes = [m["content"]["evalue"] for m in told if m["parent_header"].get("msg_id") == sent and "evalue" in m["content"]]
    assert causes == ["The kernel ran out of memory."] * 2


def test_the_legacy_protocol_is_spoken_even_where_v1_is_offered(connect):
    assert "sec-websocket-protocol" not in connect(protocol=V1_PROTOCOL).socket.getheaders()


def test_one_websocket_too_many_is_refused_with_503(connect):
    for _ in range(3):
        connect()
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        connect()
    assert caught.value.status_code == 503


def test_compression_is_offered(connect):
    client = connect(header={"Sec-WebSocket-Extensions": "permessage-deflate"})
    assert client.socket.getheaders()["sec-websocket-extensions"] == "permessage-deflate"


def test_a_client_is_pinged(connect):
    client = connect()
    client.socket.settimeout(10)
    while client.socket.recv_data(control_frame=True)[0] != websocket.ABNF.OPCODE_PING:
        pass


def test_output_beyond_the_rate_is_dropped_with_a_notice(gateway, connect):
    answers = connect().run("for i in range(300): print(i, flush=True)")
    notices = [m["content"]["text"] for m in answers if m["content"].get("name") == "stderr"]
    assert len(notices) == 1
    assert notices[0].startswith("IOPub message rate exceeded")
    assert gateway.metrics.counts["dropped rate_limit"] > 0


def test_a_drain_closes_with_1012_and_the_session_waits(gateway, connect, kernel):
    client = connect()
    client.run("1")
    thread = threading.Thread(target=gateway.call, args=(gateway.connections.close_all,))
    thread.start()
    assert client.closing_code() == 1012
    thread.join()
    assert client.session in kernel.link._readers._cursors


def test_pongs_may_take_three_pings_and_at_least_half_a_minute():
    assert (WebsocketOptions(ping_interval=1).pong_timeout, WebsocketOptions().pong_timeout) == (30, 90)
