"""What clients are told of a kernel that dies, is restarted, or is shut down while they wait for it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.servers import Product, Server, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.messages import Message

pytestmark = pytest.mark.usefixtures("_ours")

_NAME = "DeadKernelError"


@pytest.fixture(scope="module", params=["5", "0"], ids=["restarted", "given up"])
def limited(request: pytest.FixtureRequest, product: Product, workspace: Workspace) -> Iterator[Server]:
    """A server that starts dead kernels again, and one that doesn't."""
    server = Server(product=product, workspace=workspace, token="t", settings={"RESTART_LIMIT": request.param}).start()
    yield server
    server.stop()


def _until_state(client: KernelSocket, *states: str) -> list[Message]:
    return list(client.until(lambda message: message.content.get("execution_state") in states and not message.parent))


def _answers_of(client: KernelSocket, sent: list[Message]) -> dict[str, list[Message]]:
    """Return what answers several requests, whose answers may come mixed, up to the reply and the idle of each."""
    told: dict[str, list[Message]] = {one.id: [] for one in sent}
    missing = {(one.id, end) for one in sent for end in ("reply", "idle")}
    for message in client.messages():
        if message.parent in told:
            told[message.parent].append(message)
            missing.discard((message.parent, message.content.get("execution_state") or message.type.rpartition("_")[2]))
        if not missing:
            break
    return told


def _of(messages: list[Message], sent: Message) -> list[tuple[str, str]]:
    """What answers a request, in short, without the busy of its beginning."""
    told = [m for m in messages if m.parent == sent.id and m.type not in {"execute_input", "stream"}]
    return [(m.channel, m.content.get("execution_state") or m.type) for m in told if m.content.get("execution_state") != "busy"]


def test_every_open_request_gets_an_error_and_idle_before_the_kernels_own_state(limited: Server, protocol: str) -> None:
    kernel_id = limited.start_kernel()
    with KernelSocket(limited, kernel_id, protocol=protocol) as client:
        pid = int(text_of(client.run("import os; print(os.getpid())")))
        ended = client.run("1")[0].parent
        running = client.execute("import time; print('begun', flush=True); time.sleep(600)")
        client.wait_for(lambda message: message.type == "stream")
        waiting = client.execute("2")
        asked = client.send("shell", "kernel_info_request", {})
        # Answered beside the cell, so everything before it has reached the kernel.
        client.collect(client.send("control", "usage_request", {}))
        os.kill(pid, signal.SIGKILL)
        told = _until_state(client, "restarting", "dead")
        assert _of(told, running) == [("iopub", "error"), ("shell", "execute_reply"), ("iopub", "idle")]
        assert _of(told, waiting) == [("shell", "execute_reply"), ("iopub", "idle")]
        assert _of(told, asked) == [("shell", "kernel_info_reply"), ("iopub", "idle")]
        for message in told:
            if message.type in {"error", "execute_reply"}:
                assert message.content["ename"] == _NAME
                assert "SIGKILL" in message.content["evalue"]
                assert message.content["traceback"] == [f"{_NAME}: {message.content['evalue']}"]
            if message.type == "execute_reply":
                assert message.content["status"] == "error"
        assert ended not in {message.parent for message in told}
        expected = {"5": "restarting", "0": "dead"}[limited.settings["RESTART_LIMIT"]]
        assert told[-1].content["execution_state"] == expected


def test_each_of_two_clients_gets_the_reply_to_its_own_request_and_no_other(limited: Server) -> None:
    kernel_id = limited.start_kernel()
    with KernelSocket(limited, kernel_id) as one, KernelSocket(limited, kernel_id) as other:
        pid = int(text_of(one.run("import os; print(os.getpid())")))
        running = one.execute("import time; print('begun', flush=True); time.sleep(600)")
        one.wait_for(lambda message: message.type == "stream")
        waiting = other.execute("2")
        other.collect(other.send("control", "usage_request", {}))
        os.kill(pid, signal.SIGKILL)
        for client, sent in ((one, running), (other, waiting)):
            told = _until_state(client, "restarting", "dead")
            assert [message.parent for message in told if message.type == "execute_reply"] == [sent.id]
            assert [message.parent for message in told if message.type == "error"] == [running.id]


def test_a_request_to_a_dead_kernel_is_answered_at_once(own_server: Callable[..., Server]) -> None:
    server = own_server(settings={"RESTART_LIMIT": "0"})
    with KernelSocket(server, server.start_kernel()) as client:
        client.execute("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
        _until_state(client, "dead")
        answers = client.collect(client.execute("1"))
        assert [m.content.get("ename") for m in answers] == [_NAME, _NAME, None]
        assert "SIGKILL" in answers[0].content["evalue"]


def test_a_request_that_comes_while_the_kernel_is_restarted_runs_in_the_new_one_once(own_server: Callable[..., Server]) -> None:
    server = own_server(settings={"RESTART_LIMIT": "5"})
    with KernelSocket(server, server.start_kernel()) as client:
        client.execute("old = 1; import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
        _until_state(client, "restarting")
        sent = [client.execute(f"print({number}, 'old' in globals())") for number in range(3)]
        told = _answers_of(client, sent)
        assert [text_of(told[one.id]) for one in sent] == [f"{number} False\n" for number in range(3)]
        assert [[m.type for m in told[one.id]].count("execute_input") for one in sent] == [1, 1, 1]


@pytest.mark.parametrize("how", ["restart", "shutdown"])
def test_a_request_that_somebody_elses_restart_or_shutdown_ended_is_answered(
    server: Server, connect: Callable[..., KernelSocket], own_kernel: str, how: str
) -> None:
    client = connect(own_kernel)
    # What ends a kernel in order interrupts it first; this cell takes no notice.
    ignore = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('begun', flush=True); time.sleep(600)"
    running = client.execute(ignore)
    client.wait_for(lambda message: message.type == "stream")
    waiting = client.execute("2")
    if how == "restart":
        assert server.request("POST", f"/api/kernels/{own_kernel}/restart", json={}).status_code == 200
    else:
        server.stop_kernel(own_kernel)
    told = _answers_of(client, [running, waiting])
    for sent in (running, waiting):
        (reply,) = (m for m in told[sent.id] if m.type == "execute_reply")
        assert (reply.content["status"], reply.content["ename"]) == ("error", _NAME)
        assert {"restart": "restarted", "shutdown": "shut down"}[how] in reply.content["evalue"]


def test_a_client_that_was_away_when_its_kernel_died_gets_its_answers_when_it_comes_back(
    own_server: Callable[..., Server],
) -> None:
    server = own_server(settings={"RESTART_LIMIT": "5"})
    kernel_id = server.start_kernel()
    client = KernelSocket(server, kernel_id)
    pid = int(text_of(client.run("import os; print(os.getpid())")))
    sent = client.execute("import time; print('begun', flush=True); time.sleep(600)")
    client.wait_for(lambda message: message.type == "stream")
    client.drop()
    with KernelSocket(server, kernel_id) as other:
        os.kill(pid, signal.SIGKILL)
        _until_state(other, "restarting")
    with KernelSocket(server, kernel_id, session=client.session) as back:
        assert [m.type for m in back.collect(sent)] == ["error", "execute_reply", "status"]
