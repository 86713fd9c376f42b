"""A supervisor that stands still, as it does on a node that swaps or whose virtual machine is moved."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
import websocket
from tests.support.kernel_socket import KernelSocket, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.support.installation import Installation
    from tests.support.messages import Message
    from tests.support.servers import Server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

NAME = "python_kubernetes"


@pytest.fixture
def gateway(installation: Installation) -> Server:
    return installation.gateway().start()


def supervisor_of(kernel_id: str) -> int:
    """Return the number that this machine, which has the nodes, knows a kernel's supervisor by."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.endswith(b"launch-kernel") for word in words[:2]) and kernel_id.encode() in words:
            return int(entry.name)
    if os.environ.get("REQUIRE_E2E") == "1":
        pytest.fail("REQUIRE_E2E=1, and the kernel's supervisor isn't a process of this machine")
    pytest.skip("the kernel's supervisor isn't a process of this machine")


@contextmanager
def paused(kernel_id: str) -> Iterator[None]:
    number = supervisor_of(kernel_id)
    os.kill(number, signal.SIGSTOP)
    try:
        yield
    finally:
        # It may have been ended meanwhile.
        if Path(f"/proc/{number}").exists():
            os.kill(number, signal.SIGCONT)


def test_a_cell_goes_on_where_it_was_and_other_kernels_notice_nothing(gateway: Server) -> None:
    kernel_id, other = gateway.start_kernel(NAME), gateway.start_kernel(NAME)
    with KernelSocket(gateway, kernel_id) as client, KernelSocket(gateway, other) as elsewhere:
        sent = client.execute("import time\nfor number in range(600):\n    print(number, flush=True)\n    time.sleep(0.02)")
        heard = list(client.until(lambda message: message.type == "stream" and message.content["text"].strip().endswith("50")))
        with paused(kernel_id):
            end = time.monotonic() + 10
            while time.monotonic() < end:
                assert text_of(elsewhere.run("print('here')", timeout=5)) == "here\n"
        heard += client.collect(sent, timeout=60)
        assert text_of([message for message in heard if message.parent == sent.id]).split() == list(map(str, range(600)))
        assert text_of(client.run("print('on')")) == "on\n"


def numbers(messages: list[Message], sent: Message) -> list[int]:
    """Return the numbers that a cell printed."""
    return [int(word) for word in text_of([one for one in messages if one.parent == sent.id]).split() if word.isdigit()]


def test_a_slow_client_in_the_middle_of_the_log_goes_on_there_and_misses_nothing(gateway: Server) -> None:
    kernel_id = gateway.start_kernel(NAME)
    with KernelSocket(gateway, kernel_id) as fast, KernelSocket(gateway, kernel_id) as slow:
        sent = fast.execute("for number in range(400): print(number, 'x' * 100_000, flush=True)")
        fast.collect(sent, timeout=90)
        # What it reads first is on its way to it already; what follows is fetched from the pod, page by page.
        heard = list(slow.until(lambda message: message.type == "stream" and message.content["text"].startswith("50 ")))
        with paused(kernel_id):
            end = time.monotonic() + 10
            with suppress(websocket.WebSocketTimeoutException):
                while (left := end - time.monotonic()) > 0:
                    heard.append(slow.receive(left))
            assert 50 < max(numbers(heard, sent)) < 399
        heard += slow.until(lambda message: message.parent == sent.id and message.content.get("execution_state") == "idle", 60)
    assert numbers(heard, sent) == list(range(400))
    assert text_of(heard, "stderr") == ""


def is_over(heard: Sequence[Message], sent: Message) -> bool:
    """Tell whether a request's reply and its idle status are among messages."""
    mine = [message for message in heard if message.parent == sent.id]
    idle = any(message.content.get("execution_state") == "idle" for message in mine)
    return idle and any(message.type == "execute_reply" for message in mine)


def test_a_session_that_changes_over_meanwhile_goes_on_at_the_other_replica_and_gets_every_line_once(
    replicas: Callable[..., tuple[Server, Server]],
) -> None:
    one, other = replicas()
    kernel_id = one.start_kernel(NAME)
    client = KernelSocket(one, kernel_id)
    sent = client.execute("import time\nfor number in range(300):\n    print(number, flush=True)\n    time.sleep(0.02)")
    heard = list(client.until(lambda message: message.type == "stream" and message.content["text"].startswith("50")))
    with ThreadPoolExecutor(1) as pool:
        with paused(kernel_id):
            changes_over = pool.submit(KernelSocket, other, kernel_id, session=client.session)
            time.sleep(10)
            assert not changes_over.done()
        with suppress(websocket.WebSocketException, OSError, AssertionError):
            while True:
                heard.append(client.receive())
        client.close()
        with changes_over.result(30) as back:
            # Either connection may have brought the end of the cell.
            while not is_over(heard, sent):
                heard.append(back.receive())
            assert text_of(back.run("print('on')")) == "on\n"
    assert numbers(heard, sent) == list(range(300))


def test_a_restart_gives_the_kernel_another_pod(gateway: Server) -> None:
    kernel_id = gateway.start_kernel(NAME)
    with KernelSocket(gateway, kernel_id) as client, paused(kernel_id):
        answer = gateway.request("POST", f"/api/kernels/{kernel_id}/restart", json={}, timeout=120)
        assert (answer.status_code, answer.json()["id"]) == (200, kernel_id), answer.text
        assert text_of(client.run("print('new')")) == "new\n"


def test_a_kernel_is_shut_down_in_the_middle_of_a_restart_that_hangs(gateway: Server) -> None:
    kernel_id = gateway.start_kernel(NAME)
    with paused(kernel_id):
        restart = Thread(target=gateway.request, args=("POST", f"/api/kernels/{kernel_id}/restart"), kwargs={"timeout": 120})
        restart.start()
        while gateway.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"] != "restarting":
            time.sleep(0.05)
        begun = time.monotonic()
        assert gateway.request("DELETE", f"/api/kernels/{kernel_id}", timeout=60).status_code == 204
        assert time.monotonic() - begun < 40
        restart.join(10)
        assert not restart.is_alive()
    assert gateway.request("GET", f"/api/kernels/{kernel_id}").status_code == 404
