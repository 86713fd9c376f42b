import json
import logging
import socket
import struct
from typing import Any

import pytest
import websocket
from websocket import ABNF

from enterprise_gateway.errors import LaunchFailed, Unavailable
from enterprise_gateway.websocket.options import V1_PROTOCOL


def text_of(messages: list[dict[str, Any]], name: str = "stdout") -> str:
    return "".join(m["content"]["text"] for m in messages if m["msg_type"] == "stream" and m["content"]["name"] == name)


def _refusal(url: str, **options: Any) -> tuple[int, dict[str, str]]:
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        websocket.create_connection(url, timeout=10, **options)
    return caught.value.status_code, json.loads(caught.value.resp_body)


@pytest.fixture
def url(gateway, kernel):
    return f"ws://127.0.0.1:{gateway.port}/api/kernels/{kernel.kernel_id}/channels"


# ------------------------------------------------------------------------------------------------------------ refusals


def test_an_unknown_kernel_is_refused_with_404_and_json(gateway):
    status, body = _refusal(f"ws://127.0.0.1:{gateway.port}/api/kernels/none/channels")
    assert (status, body) == (404, {"reason": "Not Found", "message": "Kernel does not exist: none"})


def test_an_unknown_token_is_refused_with_401_and_json(url):
    assert _refusal(url, header={"Authorization": "token wrong"}) == (
        401,
        {"reason": "Unauthorized", "message": "This token isn't known."},
    )


def test_who_is_not_authorized_is_refused_with_403_and_json(url):
    status, body = _refusal(f"{url}?unauthorized=1")
    assert (status, body["reason"]) == (403, "Forbidden")


def test_a_websocket_beyond_the_most_is_closed_with_1013_though_it_was_admitted_while_the_kernel_started(
    gateway, url, monkeypatch
):
    asked = []

    def admit(key):
        asked.append(key)
        if len(asked) > 1:
            raise Unavailable("This gateway already has 1 websockets, the most that it is set to have.")

    monkeypatch.setattr(gateway.connections, "admit", admit)
    client = websocket.create_connection(url, timeout=10)
    opcode, data = client.recv_data()
    client.shutdown()
    assert (opcode, struct.unpack("!H", data[:2])[0]) == (ABNF.OPCODE_CLOSE, 1013)
    assert len(gateway.connections) == 0


def test_a_page_of_another_origin_is_refused_with_403_and_json(url):
    status, body = _refusal(url, origin="https://evil.example")
    assert (status, body["reason"]) == (403, "Forbidden")


def test_a_kernel_that_cannot_be_found_now_is_refused_with_the_words_of_whoever_looked(gateway, url):
    gateway.failure = LaunchFailed("The image can't be pulled.")
    try:
        assert _refusal(url) == (500, {"reason": "Kernel launch failed", "message": "The image can't be pulled."})
    finally:
        gateway.failure = None


def test_a_failure_of_the_gateway_is_logged_without_the_clients_token(gateway, url, caplog):
    gateway.failure = RuntimeError("a fault")
    try:
        status, body = _refusal(f"{url}?token=canary")
    finally:
        gateway.failure = None
    assert (status, body["reason"]) == (500, "Internal Server Error")
    # The application writes its own line of each request in place of tornado's.
    written = [logging.Formatter().format(record) for record in caplog.records if record.name != "tornado.access"]
    assert any("a fault" in line for line in written)
    assert not any("canary" in line for line in written)


def test_a_websocket_whose_kernel_cannot_be_reached_is_closed_with_1013(gateway, connect, kernel, monkeypatch):
    def refuse(channel, identity):
        raise Unavailable("The gateway can't open another connection to a kernel.")

    client = connect()
    client.run("1")
    monkeypatch.setattr(kernel.link._channels._addresses, "open", refuse)
    client.send("control", "kernel_info_request", {})
    assert client.closing_code() == 1013


# ------------------------------------------------------------------------------------------------------------- talking


def test_v1_is_spoken_only_where_it_is_offered(connect):
    assert "sec-websocket-protocol" not in connect().socket.getheaders()
    assert connect(protocol=V1_PROTOCOL).socket.getheaders()["sec-websocket-protocol"] == V1_PROTOCOL


def test_a_cell_is_run_and_its_output_arrives_in_order(connect, protocol):
    answers = connect(protocol=protocol).run("for i in range(5): print(i, flush=True)")
    assert text_of(answers) == "0\n1\n2\n3\n4\n"
    assert next(m for m in answers if m["channel"] == "iopub")["content"] == {"execution_state": "busy"}


def test_a_legacy_message_has_the_keys_that_jupyter_server_sends(connect):
    (reply,) = (m for m in connect().run("1") if m["channel"] == "shell")
    assert set(reply) == {"header", "parent_header", "metadata", "content", "msg_id", "msg_type", "channel", "buffers"}
    assert (reply["msg_id"], reply["msg_type"], reply["buffers"]) == (reply["header"]["msg_id"], "execute_reply", [])


def test_buffers_go_both_ways_byte_for_byte(connect, protocol):
    client = connect(protocol=protocol)
    client.run(
        "def target(comm, _):\n"
        "    comm.on_msg(lambda m: comm.send({}, buffers=[bytes(b)[::-1] for b in m['buffers']]))\n"
        "get_ipython().kernel.comm_manager.register_target('echo', target)"
    )
    client.send("shell", "comm_open", {"comm_id": "c", "target_name": "echo", "data": {}})
    buffers = (bytes(range(256)) * 100, b"", b"\xff\xfe no text")
    client.send("shell", "comm_msg", {"comm_id": "c", "data": {}}, buffers)
    answer = client.until(lambda m: m["msg_type"] == "comm_msg")[-1]
    assert [bytes(part) for part in answer["buffers"]] == [part[::-1] for part in buffers]


def test_input_is_asked_of_the_client_that_runs_the_cell(connect, protocol):
    client = connect(protocol=protocol)
    sent = client.execute("print(input('name? '))", allow_stdin=True)
    client.until(lambda m: m["channel"] == "stdin" and m["content"]["prompt"] == "name? ")
    client.send("stdin", "input_reply", {"value": "Ada", "status": "ok"})
    assert text_of(client.collect(sent)) == "Ada\n"


def test_text_outside_ascii_arrives_whole(connect, protocol):
    assert text_of(connect(protocol=protocol).run("print('Ω 😀 \\x00')")) == "Ω 😀 \x00\n"


def test_the_kernel_is_told_of_every_client_message(connect, kernel):
    del kernel.messages[:]
    connect().run("1")
    assert kernel.messages == ["execute_request"]


def test_nagle_is_off(gateway, connect):
    connect().run("1")
    sockets = [c._delivery._socket for c in gateway.connections._connections.values()]
    assert sockets
    assert all(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for s in sockets)


# ------------------------------------------------------------------------------------------------------- invalid input


def _message(channel: Any, **header: Any) -> bytes:
    header = {"msg_id": "m", "msg_type": "kernel_info_request", "session": "s", "version": "5.3", **header}
    return json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": {}, "channel": channel}).encode()


_TEXT, _BINARY = ABNF.OPCODE_TEXT, ABNF.OPCODE_BINARY
_CLOSED = {
    "empty": ("", _TEXT, b"", 1007),
    "no JSON": ("", _TEXT, b"no json", 1007),
    "a list": ("", _TEXT, b"[1]", 1007),
    "no header": ("", _TEXT, b'{"channel":"shell"}', 1007),
    "a header that is a number": ("", _TEXT, b'{"channel":"shell","header":3}', 1007),
    "a header without an id": ("", _TEXT, b'{"channel":"shell","header":{"msg_type":"x"}}', 1007),
    "content that is a list": ("", _TEXT, b'{"channel":"shell","header":{"msg_id":"","msg_type":""},"content":[]}', 1007),
    "a channel that is a number": ("", _TEXT, _message(7), 1007),
    "200,000 brackets": ("", _TEXT, b"[" * 200_000, 1007),
    "200,000 brackets inside": ("", _TEXT, b'{"header":' + b"[" * 200_000, 1007),
    "no bytes": ("", _BINARY, b"", 1007),
    "four billion parts": ("", _BINARY, b"\xff" * 12, 1007),
    "no part": ("", _BINARY, struct.pack("!I", 0), 1007),
    "an offset beyond the end": ("", _BINARY, struct.pack("!III", 2, 12, 4000) + b"{}", 1007),
    "offsets that run backwards": ("", _BINARY, struct.pack("!IIII", 3, 30, 20, 16) + b"{}" * 20, 1007),
    "v1: text": (V1_PROTOCOL, _TEXT, b"{}", 1003),
    "v1: seven bytes": (V1_PROTOCOL, _BINARY, b"\x01" * 7, 1007),
    "v1: too many offsets": (V1_PROTOCOL, _BINARY, b"\xff" * 16, 1007),
    "v1: no offset": (V1_PROTOCOL, _BINARY, bytes(8), 1007),
    "v1: an offset beyond the end": (V1_PROTOCOL, _BINARY, struct.pack("<7Q", 6, 56, 61, 63, 65, 67, 1 << 60) + b"x" * 20, 1007),
}


@pytest.mark.parametrize("case", _CLOSED)
def test_a_frame_that_is_no_message_closes_its_own_websocket_with_a_code(gateway, connect, case):
    protocol, opcode, payload, code = _CLOSED[case]
    neighbour, culprit = connect(), connect(protocol=protocol)
    before = gateway.metrics.counts["dropped malformed_from_client"]
    culprit.socket.send(payload, opcode)
    assert culprit.closing_code() == code
    assert gateway.metrics.counts["dropped malformed_from_client"] == before + 1
    assert text_of(neighbour.run("print('well')")) == "well\n"


@pytest.mark.parametrize("channel", ["iopub", "hb", "../etc", ""])
def test_a_channel_that_leads_nowhere_is_ignored_counted_and_logged_once(gateway, connect, channel, caplog):
    client = connect()
    before = gateway.metrics.counts["dropped unknown_channel"]
    for _ in range(3):
        client.socket.send(_message(channel))
    assert text_of(client.run("print('well')")) == "well\n"
    assert gateway.metrics.counts["dropped unknown_channel"] == before + 3
    assert caplog.text.count("a channel that doesn't lead to the kernel") == 1


def test_a_message_without_a_channel_goes_to_the_shell(connect):
    client = connect()
    client.socket.send(_message(None, msg_id="without"))
    assert client.until(lambda m: m["parent_header"].get("msg_id") == "without" and m["channel"] == "shell")


def test_text_that_is_not_utf8_hurts_only_its_own_websocket(connect):
    neighbour, culprit = connect(), connect()
    culprit.socket.send(b"\xff\xfe", _TEXT)
    culprit.everything()
    assert text_of(neighbour.run("print('well')")) == "well\n"


def test_a_half_closed_connection_is_let_go(gateway, connect, kernel):
    client = connect()
    client.run("1")
    client.socket.sock.shutdown(socket.SHUT_WR)
    gateway.wait_until(lambda: kernel.connections == 0)
