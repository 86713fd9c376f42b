"""What a client sees that opens a kernel's websocket with the plain `websocket-client` library, on both protocols."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import uuid
from typing import TYPE_CHECKING

import pytest
from tests.support.cells import WAITS_FOR_AN_INTERRUPT
from tests.support.kernel_socket import LEGACY, V1_PROTOCOL, KernelSocket, text_of
from tests.support.servers import Product
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import wait_until

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
    # As with every Jupyter server, the upgrade is answered before the kernel has heard of the subscription; a client knows
    # that it hears everything when its first request was answered.
    for client in (legacy, v1):
        client.run("pass")
    text = f"for all {uuid.uuid4()}"
    sent = sender.execute(f"print({text!r})")
    for client in (legacy, v1):
        seen = client.wait_for(lambda message: message.type == "stream" and message.parent == sent.id)
        # The line's end may come as a message of its own.
        assert seen.content["text"].rstrip("\n") == text


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
    sent = client.execute(WAITS_FOR_AN_INTERRUPT)
    client.wait_for(lambda message: message.type == "stream")
    assert server.request("POST", f"/api/kernels/{kernel}/interrupt").status_code == 204
    (error,) = (message for message in client.collect(sent, timeout=10) if message.type == "error")
    assert error.content["ename"] == "KeyboardInterrupt"


def test_a_kernel_whose_spec_says_so_is_interrupted_by_message(server: Server, connect: Connect) -> None:
    kernel_id = server.start_kernel("by-message")
    client = connect(kernel_id)
    sent = client.execute(WAITS_FOR_AN_INTERRUPT)
    client.wait_for(lambda message: message.type == "stream")
    assert server.request("POST", f"/api/kernels/{kernel_id}/interrupt").status_code == 204
    assert "error" in [message.type for message in client.collect(sent, timeout=10)]
    server.stop_kernel(kernel_id)


def test_an_interrupt_request_on_the_control_channel_interrupts(connect: Connect, kernel: str, protocol: str) -> None:
    client = connect(kernel, protocol=protocol)
    sent = client.execute(WAITS_FOR_AN_INTERRUPT)
    client.wait_for(lambda message: message.type == "stream")
    client.send("control", "interrupt_request", {})
    assert "error" in [message.type for message in client.collect(sent, timeout=10)]


def test_a_restart_keeps_the_id_and_the_websocket_and_loses_the_state(
    server: Server, connect: Connect, own_kernel: str, protocol: str
) -> None:
    client = connect(own_kernel, protocol=protocol)
    client.run("value = 1; import os")
    before = text_of(client.run("print(os.getpid())")).strip()
    answer = server.request("POST", f"/api/kernels/{own_kernel}/restart", json={})
    assert (answer.status_code, answer.json()["id"]) == (200, own_kernel)
    after = client.run("import os; print('value' in globals(), os.getpid())")
    state, pid = text_of(after).split()
    assert state == "False"
    assert pid != before


def test_a_restart_that_was_asked_for_is_not_told_as_a_death(server: Server, connect: Connect, own_kernel: str) -> None:
    client = connect(own_kernel)
    client.run("1")
    server.request("POST", f"/api/kernels/{own_kernel}/restart", json={})
    sent = client.execute("1")
    states = set()
    for message in client.messages():
        states.add(_state(message))
        if message.parent == sent.id and _state(message) == "idle":
            break
    # JupyterLab takes it for the server's news of a kernel that has died.
    assert "restarting" not in states


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
    told = list(client.until(lambda message: _state(message) in {"restarting", "autorestarting"}, timeout=15))
    if server.product is Product.GATEWAY:
        cause = "exited with status 3" if how == "exit" else "SIGKILL"
        assert cause in text_of(told, "stderr")
    # The kernel that comes up is asked as soon as its own `starting` is over; until then the model says `restarting`.
    wait_until(lambda: server.request("GET", f"/api/kernels/{own_kernel}").json()["execution_state"] == "idle", timeout=15)
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
    wait_until(lambda: _connections(server, own_kernel) == 0)
    gate.touch()
    wait_until(lambda: server.request("GET", f"/api/kernels/{own_kernel}").json()["execution_state"] == "idle")
    answers = connect(own_kernel, protocol=protocol, session=client.session).collect(sent)
    assert (seen + text_of(answers)).split() == [str(i) for i in range(200)]
    assert sum(message.type == "execute_reply" for message in answers) == 1


def test_output_goes_on_where_a_proxy_between_was_reset(
    server: Server, connect: Connect, own_kernel: str, tmp_path: Path, protocol: str
) -> None:
    gate = tmp_path / "gate"
    with TcpProxy(server.port) as proxy:
        through = dataclasses.replace(server, port=proxy.port)
        client = connect(own_kernel, server=through, protocol=protocol)
        sent = client.execute(
            "import os, time\n"
            "for i in range(10): print(i, flush=True)\n"
            f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
            "for i in range(10, 200): print(i, flush=True)\n"
        )
        seen = ""
        while "9\n" not in seen:
            seen += text_of([client.receive()])
        # TCP delays acknowledgements; what is sent carries them along.
        client.round_trip()
        proxy.reset()
        gate.touch()
        again = connect(own_kernel, server=through, protocol=protocol, session=client.session)
        assert (seen + text_of(again.collect(sent))).split() == [str(i) for i in range(200)]


def test_another_session_does_not_get_what_the_first_one_missed(server: Server, connect: Connect, own_kernel: str) -> None:
    client = connect(own_kernel)
    client.execute("import time; time.sleep(0.2); print('for the first only')")
    client.wait_for(lambda message: message.type == "execute_input")
    client.close()
    wait_until(lambda: server.request("GET", f"/api/kernels/{own_kernel}").json()["execution_state"] == "idle")
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


def test_a_cell_sent_at_once_to_a_busy_kernel_loses_no_output(connect: Connect, kernel: str) -> None:
    other = connect(kernel)
    for pause in range(30):
        # The cell before ends while the new connection's subscription is on its way.
        sent = other.execute(f"import time; time.sleep({pause / 1000})")
        other.wait_for(lambda message, sent=sent: message.parent == sent.id and _state(message) == "busy")
        answers = connect(kernel).run("print('well')", timeout=10)
        assert text_of(answers) == "well\n", pause
        states = [_state(message) for message in answers if message.type == "status"]
        assert states == ["busy", "idle"], pause


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
    wait_until(lambda: _connections(server, own_kernel) == 0)
    assert text_of(connect(own_kernel).run("print('well')")) == "well\n"
