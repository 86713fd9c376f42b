"""What a client sees that opens a kernel's websocket with the plain `websocket-client` library, on both protocols."""

from __future__ import annotations

import json
import os
import signal
import struct
import threading
import time
import uuid
from typing import TYPE_CHECKING

import pytest
import websocket
from tests.support.kernel_socket import LEGACY, V1_PROTOCOL, KernelSocket, text_of
from tests.support.messages import encode_legacy, encode_v1, request
from websocket import ABNF

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.messages import Message
    from tests.support.servers import Server

    Connect = Callable[..., KernelSocket]

# Answers every comm message with its data and with its buffers reversed.
_ECHO = """
from comm import get_comm_manager

def opened(comm, message):
    def answer(message):
        comm.send(message["content"]["data"], buffers=[bytes(part)[::-1] for part in message["buffers"]])
    comm.on_msg(answer)

get_comm_manager().register_target("echo", opened)
"""


def _open_echo(client: KernelSocket) -> str:
    """Open a comm that answers with what it gets, and return its id."""
    client.run(_ECHO)
    comm_id = uuid.uuid4().hex
    opened = client.send("shell", "comm_open", {"comm_id": comm_id, "target_name": "echo", "data": {}})
    client.wait_for(lambda message: message.parent == opened.id and _state(message) == "idle")
    return comm_id


def _state(message: Message) -> str | None:
    return message.content["execution_state"] if message.type == "status" else None


def _wait_until(condition: Callable[[], bool], timeout: float = 10) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def _connections(server: Server, kernel_id: str) -> int:
    return server.request("GET", f"/api/kernels/{kernel_id}").json()["connections"]


def test_the_offered_protocol_is_chosen_and_none_means_the_legacy_one(connect: Connect, kernel: str, protocol: str) -> None:
    assert connect(kernel, protocol=protocol).chosen == protocol


def test_an_unknown_offer_gets_the_legacy_protocol(connect: Connect, kernel: str) -> None:
    # RFC 6455 has the client fail when the server names a protocol that wasn't offered, so none may be named.
    client = connect(kernel, protocol="v9.example")
    assert client.chosen == LEGACY
    assert text_of(client.run("print('understood')")) == "understood\n"


def test_a_cell_gives_busy_input_output_reply_and_idle(connect: Connect, kernel: str, protocol: str) -> None:
    answers = connect(kernel, protocol=protocol).run("import sys; print('out'); print('err', file=sys.stderr); 6 * 7")
    on_iopub = [message for message in answers if message.channel == "iopub"]
    assert [_state(on_iopub[0]), on_iopub[1].type] == ["busy", "execute_input"]
    assert _state(on_iopub[-1]) == "idle"
    assert (text_of(answers), text_of(answers, "stderr")) == ("out\n", "err\n")
    (result,) = (message for message in answers if message.type == "execute_result")
    assert result.content["data"]["text/plain"] == "42"
    (reply,) = (message for message in answers if message.channel == "shell")
    assert reply.content["status"] == "ok"


def test_every_message_is_seen_by_every_client_of_the_kernel(connect: Connect, kernel: str) -> None:
    sender, legacy, v1 = connect(kernel), connect(kernel, protocol=LEGACY), connect(kernel, protocol=V1_PROTOCOL)
    text = f"for all {uuid.uuid4()}"
    sent = sender.execute(f"print({text!r})")
    for client in (legacy, v1):
        seen = client.wait_for(lambda message: message.type == "stream" and message.parent == sent.id)
        assert seen.content["text"] == text + "\n"


def test_a_display_arrives_with_its_metadata_and_an_update_of_it(connect: Connect, kernel: str, protocol: str) -> None:
    answers = connect(kernel, protocol=protocol).run(
        "from IPython.display import display\n"
        "handle = display({'text/html': '<b>Ω</b>'}, raw=True, metadata={'isolated': True}, display_id='one')\n"
        "handle.update({'text/html': '<i>Ω</i>'}, raw=True)"
    )
    shown, updated = (message for message in answers if message.type in {"display_data", "update_display_data"})
    assert (shown.content["data"], shown.content["metadata"]) == ({"text/html": "<b>Ω</b>"}, {"isolated": True})
    assert (updated.type, updated.content["transient"]["display_id"]) == ("update_display_data", "one")


def test_buffers_reach_the_kernel_and_come_back_byte_for_byte(connect: Connect, kernel: str, protocol: str) -> None:
    client = connect(kernel, protocol=protocol)
    comm_id = _open_echo(client)
    buffers = (bytes(range(256)) * 64, b"", b"\x00\xff\xfe not utf-8", b"{}")
    sent = client.send("shell", "comm_msg", {"comm_id": comm_id, "data": {"count": 4}}, buffers=buffers)
    answer = client.wait_for(lambda message: message.type == "comm_msg" and message.parent == sent.id)
    assert answer.content["data"] == {"count": 4}
    assert answer.buffers == tuple(part[::-1] for part in buffers)


def test_input_is_asked_of_the_client_that_sent_the_cell_and_its_answer_gets_there(
    connect: Connect, kernel: str, protocol: str
) -> None:
    client, other = connect(kernel, protocol=protocol), connect(kernel, protocol=protocol)
    sent = client.execute("print(input('name? '))", allow_stdin=True)
    asked = client.wait_for(lambda message: message.channel == "stdin")
    assert (asked.type, asked.content["prompt"], asked.parent) == ("input_request", "name? ", sent.id)
    client.send("stdin", "input_reply", {"value": "Ada", "status": "ok"})
    assert text_of(client.collect(sent)) == "Ada\n"
    seen = other.run("1")
    assert all(message.channel != "stdin" for message in seen)


def test_rest_interrupts_a_running_cell(server: Server, connect: Connect, kernel: str, protocol: str) -> None:
    client = connect(kernel, protocol=protocol)
    sent = client.execute("import time; print('sleeping', flush=True); time.sleep(60)")
    client.wait_for(lambda message: message.type == "stream")
    assert server.request("POST", f"/api/kernels/{kernel}/interrupt").status_code == 204
    (error,) = (message for message in client.collect(sent, timeout=10) if message.type == "error")
    assert error.content["ename"] == "KeyboardInterrupt"


def test_a_kernel_whose_spec_says_so_is_interrupted_by_message(server: Server, connect: Connect) -> None:
    kernel_id = server.start_kernel("by-message")
    client = connect(kernel_id)
    sent = client.execute("import time; print('sleeping', flush=True); time.sleep(60)")
    client.wait_for(lambda message: message.type == "stream")
    assert server.request("POST", f"/api/kernels/{kernel_id}/interrupt").status_code == 204
    assert "error" in [message.type for message in client.collect(sent, timeout=10)]
    server.stop_kernel(kernel_id)


def test_an_interrupt_request_on_the_control_channel_interrupts(connect: Connect, kernel: str, protocol: str) -> None:
    client = connect(kernel, protocol=protocol)
    sent = client.execute("import time; print('sleeping', flush=True); time.sleep(60)")
    client.wait_for(lambda message: message.type == "stream")
    client.send("control", "interrupt_request", {})
    assert "error" in [message.type for message in client.collect(sent, timeout=10)]


def test_a_restart_keeps_the_id_and_the_websocket_and_loses_the_state(
    server: Server, connect: Connect, own_kernel: str, protocol: str
) -> None:
    client = connect(own_kernel, protocol=protocol)
    client.run("value = 1; import os")
    (before,) = client.run("print(os.getpid())")[2:3]
    answer = server.request("POST", f"/api/kernels/{own_kernel}/restart", json={})
    assert (answer.status_code, answer.json()["id"]) == (200, own_kernel)
    after = client.run("import os; print('value' in globals(), os.getpid())")
    state, pid = text_of(after).split()
    assert state == "False"
    assert pid != before.content["text"].strip()


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_a_kernel_that_dies_is_announced_and_comes_back_under_its_id(
    server: Server, connect: Connect, own_kernel: str, how: str
) -> None:
    client = connect(own_kernel)
    pid = int(text_of(client.run("import os; print(os.getpid())")))
    if how == "exit":
        client.execute("os._exit(3)")
    else:
        os.kill(pid, signal.SIGKILL)
    client.wait_for(lambda message: _state(message) in {"restarting", "autorestarting"}, timeout=15)
    # The kernel that comes up is asked as soon as its own `starting` is over; until then the model says `restarting`.
    _wait_until(lambda: server.request("GET", f"/api/kernels/{own_kernel}").json()["execution_state"] == "idle", timeout=15)
    assert int(text_of(client.run("import os; print(os.getpid())"))) != pid


@pytest.mark.parametrize("departure", ["close", "drop"])
def test_the_same_session_gets_what_it_missed_once_and_in_order(
    server: Server, connect: Connect, own_kernel: str, tmp_path: Path, protocol: str, departure: str
) -> None:
    gate = tmp_path / "gate"
    client = connect(own_kernel, protocol=protocol)
    sent = client.execute(
        "import os, time\n"
        "for i in range(10): print(i, flush=True)\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
        "for i in range(10, 200): print(i, flush=True)\n"
    )
    seen = ""
    while "9\n" not in seen:
        seen += text_of([client.receive()])
    getattr(client, departure)()
    _wait_until(lambda: _connections(server, own_kernel) == 0)
    gate.touch()
    _wait_until(lambda: server.request("GET", f"/api/kernels/{own_kernel}").json()["execution_state"] == "idle")
    answers = connect(own_kernel, protocol=protocol, session=client.session).collect(sent)
    assert (seen + text_of(answers)).split() == [str(i) for i in range(200)]
    assert sum(message.type == "execute_reply" for message in answers) == 1


def test_another_session_does_not_get_what_the_first_one_missed(server: Server, connect: Connect, own_kernel: str) -> None:
    client = connect(own_kernel)
    client.execute("import time; time.sleep(0.2); print('for the first only')")
    client.wait_for(lambda message: message.type == "execute_input")
    client.close()
    _wait_until(lambda: server.request("GET", f"/api/kernels/{own_kernel}").json()["execution_state"] == "idle")
    other = connect(own_kernel)
    assert "stream" not in [message.type for message in other.run("1")]


def test_a_second_websocket_of_a_session_takes_over_from_the_first(connect: Connect, kernel: str) -> None:
    first = connect(kernel)
    first.run("1")
    second = connect(kernel, session=first.session)
    assert text_of(second.run("print('second')")) == "second\n"
    first.wait_closed()


@pytest.mark.usefixtures("_ours")
def test_a_message_of_20_megabytes_arrives_both_ways(connect: Connect, kernel: str, protocol: str) -> None:
    client = connect(kernel, protocol=protocol)
    comm_id = _open_echo(client)
    text, part = "Ω" * 5_000_000, bytes(range(256)) * 40_000
    sent = client.send("shell", "comm_msg", {"comm_id": comm_id, "data": {"text": text}}, buffers=(part,))
    answer = client.wait_for(lambda message: message.type == "comm_msg" and message.parent == sent.id)
    assert answer.content["data"]["text"] == text
    assert answer.buffers == (part[::-1],)


@pytest.mark.usefixtures("_ours")
def test_a_slow_reader_gets_everything_and_holds_up_nobody_else(connect: Connect, own_kernel: str) -> None:
    slow, quick = connect(own_kernel), connect(own_kernel)
    sent = quick.execute("for i in range(200): print(f'{i:05d}' + 'x' * 50_000, flush=True)")
    assert len(text_of(quick.collect(sent))) == 200 * 50_006
    assert [line[:5] for line in text_of(_from(slow, sent)).splitlines()] == [f"{i:05d}" for i in range(200)]


def _from(client: KernelSocket, sent: Message) -> list[Message]:
    """Collect a request's iopub messages on a socket that didn't send it."""
    seen = []
    for message in client.messages():
        if message.parent == sent.id:
            seen.append(message)
            if _state(message) == "idle":
                break
    return seen


def _refused(url: str, **options: object) -> int:
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        websocket.create_connection(url, timeout=10, **options)
    return caught.value.status_code


def test_a_websocket_to_an_unknown_kernel_is_refused_with_404(server: Server) -> None:
    assert _refused(f"{server.websocket_url}/api/kernels/{uuid.uuid4()}/channels", header=server.headers) == 404


def test_a_websocket_needs_the_token(server: Server, kernel: str) -> None:
    url = f"{server.websocket_url}/api/kernels/{kernel}/channels"
    assert {_refused(url), _refused(url + "?token=wrong"), _refused(url, header={"Authorization": "token wrong"})} <= {401, 403}
    websocket.create_connection(f"{url}?token={server.token}", timeout=10).close()


@pytest.mark.usefixtures("_ours")
def test_a_page_of_another_origin_cannot_open_a_websocket(server: Server, kernel: str) -> None:
    url = f"{server.websocket_url}/api/kernels/{kernel}/channels?token={server.token}"
    assert _refused(url, origin="https://evil.example") == 403


def _offsets_v1(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def _offsets_legacy(*numbers: int) -> bytes:
    return struct.pack(f"!{len(numbers)}I", *numbers)


_MESSAGE = request("shell", "kernel_info_request", {}, session="bad")
_TEXT, _BINARY = ABNF.OPCODE_TEXT, ABNF.OPCODE_BINARY
_NO_MESSAGES = {
    "empty": (LEGACY, _TEXT, b""),
    "no JSON": (LEGACY, _TEXT, b"not json"),
    "a list": (LEGACY, _TEXT, b"[1, 2]"),
    "no header": (LEGACY, _TEXT, b'{"channel": "shell"}'),
    "header of another type": (LEGACY, _TEXT, b'{"channel": "shell", "header": 3, "content": {}}'),
    "deep": (LEGACY, _TEXT, b"[" * 200_000),
    "no channel": (LEGACY, _TEXT, json.dumps({**json.loads(encode_legacy(_MESSAGE)), "channel": None}).encode()),
    "wrong channel": (LEGACY, _TEXT, json.dumps({**json.loads(encode_legacy(_MESSAGE)), "channel": "../etc"}).encode()),
    "iopub": (LEGACY, _TEXT, json.dumps({**json.loads(encode_legacy(_MESSAGE)), "channel": "iopub"}).encode()),
    "legacy: no bytes": (LEGACY, _BINARY, b""),
    "legacy: two bytes": (LEGACY, _BINARY, b"\x00\x01"),
    "legacy: four billion parts": (LEGACY, _BINARY, b"\xff" * 12),
    "legacy: no part": (LEGACY, _BINARY, _offsets_legacy(0)),
    "legacy: offset beyond the end": (LEGACY, _BINARY, _offsets_legacy(2, 12, 4000) + b"{}"),
    "legacy: offsets that run backwards": (LEGACY, _BINARY, _offsets_legacy(3, 30, 20, 16) + b"{}" * 20),
    "v1: text": (V1_PROTOCOL, _TEXT, b"{}"),
    "v1: no bytes": (V1_PROTOCOL, _BINARY, b""),
    "v1: seven bytes": (V1_PROTOCOL, _BINARY, b"\x01" * 7),
    "v1: too many parts": (V1_PROTOCOL, _BINARY, b"\xff" * 16),
    "v1: no part": (V1_PROTOCOL, _BINARY, _offsets_v1(0)),
    "v1: offset beyond the end": (V1_PROTOCOL, _BINARY, _offsets_v1(6, 56, 61, 63, 65, 67, 1 << 60) + b"shell{}{}{}{}"),
    "v1: offsets that run backwards": (V1_PROTOCOL, _BINARY, _offsets_v1(6, 56, 50, 63, 65, 67, 69) + b"shell{}{}{}{}"),
    "v1: wrong channel": (V1_PROTOCOL, _BINARY, encode_v1(_MESSAGE).replace(b"shell{", b"shelf{", 1)),
    "v1: channel is no UTF-8": (V1_PROTOCOL, _BINARY, encode_v1(_MESSAGE).replace(b"shell{", b"\xff\xfe\xff\xfe\xff{", 1)),
    "v1: header is no JSON": (V1_PROTOCOL, _BINARY, encode_v1(_MESSAGE).replace(b'shell{"', b"shell{{", 1)),
}


@pytest.mark.usefixtures("_ours")
@pytest.mark.parametrize("case", _NO_MESSAGES)
def test_a_frame_that_is_no_message_hurts_only_its_own_websocket(
    server: Server, connect: Connect, kernel_pool: list[str], case: str
) -> None:
    protocol, opcode, payload = _NO_MESSAGES[case]
    kernel_id = kernel_pool[1]
    logged = len(server.log)
    neighbour, culprit = connect(kernel_id), connect(kernel_id, protocol=protocol)
    culprit.socket.send(payload, opcode)
    assert text_of(neighbour.run("print('well')")) == "well\n"
    # Ignored or closed, both are in order; a closed one says why in its closing frame.
    reason = _closing_reason(culprit)
    assert reason is None or reason in {1002, 1003, 1007, 1008, 1009}
    assert "Traceback" not in server.log[logged:]


def _closing_reason(client: KernelSocket) -> int | None:
    """Return the code of the closing frame, or nothing where the socket still answers."""
    client.socket.settimeout(10)
    sent = request("shell", "kernel_info_request", {}, session=client.session)
    try:
        client.send_message(sent)
    except OSError:
        return None
    while True:
        opcode, data = client.socket.recv_data(control_frame=True)
        if opcode == ABNF.OPCODE_CLOSE:
            return int(struct.unpack("!H", data[:2])[0])
        if sent.id.encode() in data:
            return None


@pytest.mark.usefixtures("_ours")
def test_text_that_is_no_utf8_closes_its_own_websocket_only(connect: Connect, kernel: str) -> None:
    client = connect(kernel)
    client.socket.send(b"\xff\xfe{}", ABNF.OPCODE_TEXT)
    client.wait_closed()
    assert text_of(connect(kernel).run("print('well')")) == "well\n"


def test_clients_that_vanish_at_any_moment_leave_no_connection_behind(server: Server, connect: Connect, own_kernel: str) -> None:
    def visit(number: int) -> None:
        client = KernelSocket(server, own_kernel)
        if number % 3:
            client.execute("print('x' * 1000)")
        client.drop() if number % 2 else client.close()

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _wait_until(lambda: _connections(server, own_kernel) == 0)
    assert text_of(connect(own_kernel).run("print('well')")) == "well\n"
