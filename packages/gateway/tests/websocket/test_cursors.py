"""Exactly once and in order over a lost connection, with a real kernel."""

import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from enterprise_gateway.websocket.options import V1_PROTOCOL

# Linux acknowledges after 200 ms at most; in that time a message that has arrived doesn't count as received.
_LONGEST_ACKNOWLEDGEMENT_SECONDS = 0.25


def text_of(messages: list[dict[str, Any]], name: str = "stdout") -> str:
    return "".join(m["content"]["text"] for m in messages if m["msg_type"] == "stream" and m["content"]["name"] == name)


def _is_stream(message: dict[str, Any]) -> bool:
    return message["msg_type"] == "stream"


def _is_idle(message: dict[str, Any], msg_id: str) -> bool:
    return message["parent_header"].get("msg_id") == msg_id and message["content"].get("execution_state") == "idle"


def two_lines(gate: Path) -> str:
    """Return a cell that prints a line, and another once the gate is open: a machine that is busy may take its time between."""
    wait = f"while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.002)"
    # `print` writes the line's end by itself, which a kernel may send as a message of its own.
    return f"import sys, time, pathlib\nsys.stdout.write('one\\n'); sys.stdout.flush()\n{wait}\nprint('two')"


def acknowledgements_rest(connection: Any) -> Callable[[], bool]:
    """Return a condition: the client's system has acknowledged nothing for longer than any system waits before it does."""
    seen = {"bytes": -1, "at": time.monotonic()}

    def rest() -> bool:
        received, now = connection._delivery.received(), time.monotonic()
        if received != seen["bytes"]:
            seen.update(bytes=received, at=now)
        return now - seen["at"] > _LONGEST_ACKNOWLEDGEMENT_SECONDS

    return rest


@pytest.mark.parametrize("departure", ["drop", "close"])
def test_a_session_that_comes_back_gets_each_line_once_and_in_order(gateway, connect, kernel, tmp_path, protocol, departure):
    gate = tmp_path / "gate"
    client = connect(protocol=protocol)
    sent = client.execute(
        "import time, pathlib\n"
        # Each line by one write: what `print` adds to it a kernel may send as a message of its own.
        "for i in range(50): print(f'{i}\\n', end='', flush=True); time.sleep(0.002)\n"
        f"while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.002)\n"
        "for i in range(50, 100): print(i, flush=True); time.sleep(0.002)\n"
    )
    seen = client.until(lambda m: _is_stream(m) and "49\n" in m["content"]["text"])
    getattr(client, departure)()
    gateway.wait_until(lambda: kernel.connections == 0)
    gate.touch()
    answers = connect(protocol=protocol, session=client.session).collect(sent)
    assert (text_of(seen) + text_of(answers)).split() == [str(i) for i in range(100)]
    assert [m["msg_type"] for m in answers].count("execute_reply") == 1


def test_what_was_on_its_way_when_the_connection_broke_is_sent_again_and_nothing_else(gateway, connect, protocol):
    """The client stops reading, so that the gateway's operating system holds what it can't deliver; then the line breaks."""
    small = ((socket.SOL_SOCKET, socket.SO_RCVBUF, 65536),)
    client = connect(protocol=protocol, sockopt=small)
    client.run("1")
    ((_, connection),) = gateway.connections._connections.items()
    sent = client.execute("for i in range(300): print(f'{i:05d}' + 'x' * 20_000, flush=True)")
    gateway.wait_until(lambda: connection._delivery.unsent > 1_000_000)
    gateway.wait_until(acknowledgements_rest(connection))
    gateway.call(connection._socket.ws_connection.stream.close)
    gateway.wait_until(lambda: not gateway.connections)
    seen = client.everything()
    client.drop()
    # The reply takes a way of its own, and may be among what the first connection delivered.
    replied = any(message["msg_type"] == "execute_reply" for message in seen if message["parent_header"].get("msg_id") == sent)
    again = connect(protocol=protocol, session=client.session)
    answers = again.until(lambda m: _is_idle(m, sent)) if replied else again.collect(sent)
    before = [line[:5] for line in text_of(seen).splitlines()]
    after = [line[:5] for line in text_of(answers).splitlines()]
    assert before
    assert after
    assert before + after == [f"{i:05d}" for i in range(300)]


def test_a_session_may_come_back_with_the_other_subprotocol(gateway, connect, kernel, tmp_path):
    client = connect()
    sent = client.execute(two_lines(tmp_path / "gate"))
    client.until(_is_stream)
    client.drop()
    gateway.wait_until(lambda: kernel.connections == 0)
    (tmp_path / "gate").touch()
    assert text_of(connect(protocol=V1_PROTOCOL, session=client.session).collect(sent)) == "two\n"


@pytest.mark.parametrize("missed", [False, True], ids=["cell goes on", "output waits"])
def test_another_session_takes_nothing_from_one_that_is_away(gateway, connect, kernel, tmp_path, missed):
    client = connect()
    sent = client.execute(two_lines(tmp_path / "gate"))
    client.until(_is_stream)
    ((_, connection),) = gateway.connections._connections.items()
    gateway.wait_until(lambda: connection._delivery.complete)
    client.drop()
    gateway.wait_until(lambda: kernel.connections == 0)
    before = kernel.link.log.end.number
    if missed:
        (tmp_path / "gate").touch()
        gateway.wait_until(lambda: kernel.link.log.end.number > before)
    connect()
    gateway.wait_until(lambda: kernel.connections == 1)
    (tmp_path / "gate").touch()
    answers = connect(session=client.session).collect(sent)
    assert text_of(answers) == "two\n"
    assert [m["msg_type"] for m in answers].count("execute_reply") == 1


def test_a_reply_goes_only_to_the_session_that_asked_and_output_to_all(connect):
    asking, listening = connect(), connect()
    sent = asking.execute("print('for all')")
    answers = asking.collect(sent)
    heard = listening.until(lambda m: m["parent_header"].get("msg_id") == sent and m["content"].get("execution_state") == "idle")
    assert text_of(answers) == text_of(heard) == "for all\n"
    assert [m["msg_type"] for m in answers].count("execute_reply") == 1
    assert {m["channel"] for m in heard} == {"iopub"}


def test_of_many_sessions_that_are_away_those_that_left_first_are_given_up(gateway, connect, kernel):
    clients = [connect() for _ in range(10)]
    gateway.wait_until(lambda: kernel.connections == 10)
    for number, client in enumerate(clients):
        client.drop()
        gateway.wait_until(lambda left=9 - number: kernel.connections == left)
    kept = connect()
    gateway.wait_until(lambda: kernel.connections == 1)
    assert list(kernel.link._readers._cursors) == [*(client.session for client in clients[2:]), kept.session]


def test_a_second_websocket_of_a_session_takes_over(gateway, connect, kernel, tmp_path):
    first = connect()
    sent = first.execute(two_lines(tmp_path / "gate"))
    first.until(_is_stream)
    second = connect(session=first.session)
    (tmp_path / "gate").touch()
    assert text_of(second.collect(sent)) == "two\n"
    assert first.closing_code() == 1000
    gateway.wait_until(lambda: kernel.connections == 1)
    assert text_of(second.run("print('still')")) == "still\n"


def test_a_hundred_lost_connections_leave_nothing_behind(gateway, connect, kernel):
    def descriptors() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    session = uuid.uuid4().hex
    connect(session=session).run("1")
    before = descriptors()
    for number in range(100):
        client = connect(session=session if number % 2 else uuid.uuid4().hex)
        client.drop()
    gateway.wait_until(lambda: kernel.connections == 0)
    deadline = time.monotonic() + 5
    while descriptors() > before and time.monotonic() < deadline:
        gateway.wait_until(lambda: True)
    assert descriptors() <= before
    assert len(gateway.connections) == 0
