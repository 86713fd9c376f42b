"""Starts that hold nobody up: answered before the kernel is up, used meanwhile, and told of by the kernel itself."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.client import CellExecutionComplete
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.servers import Product, Server, Workspace
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import requests
    from tests.support.messages import Message

pytestmark = pytest.mark.usefixtures("_ours")

_NAME = "DeadKernelError"
_ASYNC = {"Prefer": "respond-async"}

# Ends as soon as the file exists that KERNEL_GATE names, unless there is another one beside it: then it becomes a kernel.
_FAILS_WHEN_TOLD = """
import os, runpy, sys, time
while not os.path.exists(os.environ["KERNEL_GATE"]):
    time.sleep(0.02)
if not os.path.exists(os.environ["KERNEL_GATE"] + ".licence"):
    sys.exit("no licence for this kernel")
sys.argv = ["ipykernel_launcher", "-f", sys.argv[1]]
runpy.run_module("ipykernel_launcher", run_name="__main__")
"""


@pytest.fixture(scope="module")
def eager(product: Product, workspace: Workspace) -> Iterator[Server]:
    """A gateway that answers everybody before a kernel is up."""
    workspace.add_kernelspec("fails-when-told", [sys.executable, "-c", _FAILS_WHEN_TOLD, "{connection_file}"])
    settings = {"PENDING_STARTS": "True", "MAX_KERNELS_PER_USER": "3"}
    server = Server(product=product, workspace=workspace, token="eager", settings=settings).start()
    yield server
    assert server.running, server.log[-4000:]
    assert "Traceback" not in server.log
    server.stop()


class Start:
    """A kernel that is up when the test says so."""

    def __init__(self, server: Server, folder: Path, name: str, **env: str) -> None:
        self.server, self.gate = server, folder / "gate"
        self.body = {"name": name, "env": {"KERNEL_GATE": str(self.gate), **env}}
        self.answer: requests.Response | None = None

    def begin(self, **options: Any) -> str:
        self.answer = self.server.request("POST", "/api/kernels", json=self.body, **options)
        assert self.answer.ok, self.answer.text
        return str(self.answer.json()["id"])

    @property
    def model(self) -> dict[str, Any]:
        assert self.answer is not None
        return self.server.request("GET", f"/api/kernels/{self.answer.json()['id']}").json()

    def may_go_on(self) -> None:
        self.gate.touch()


@pytest.fixture
def start(eager: Server, tmp_path: Path) -> Iterator[Callable[..., Start]]:
    made = []

    def make(name: str = "gated", server: Server = eager, **env: str) -> Start:
        made.append(Start(server, tmp_path, name, KERNEL_USERNAME=tmp_path.name, **env))
        return made[-1]

    yield make
    for one in made:
        if one.answer is not None and one.answer.ok:
            one.server.stop_kernel(one.answer.json()["id"])


@pytest.fixture
def gated(start: Callable[..., Start]) -> Start:
    return start()


@contextlib.contextmanager
def _connected(server: Server, kernel_id: str, **options: Any) -> Iterator[KernelSocket]:
    """A websocket to a kernel that starts, whose client was told so."""
    with KernelSocket(server, kernel_id, **options) as client:
        assert client.receive().content == {"execution_state": "starting"}
        yield client


def _until_answered(client: KernelSocket, sent: Message) -> list[Message]:
    """Return everything up to the reply and the idle status of a request, which come by two ways."""
    told, missing = [], {"reply", "idle"}
    while missing:
        told.append(client.receive())
        if told[-1].parent == sent.id:
            missing.discard(told[-1].content.get("execution_state") or told[-1].type.rpartition("_")[2])
    return told


def _shown(messages: list[Message], sent: Message) -> list[dict[str, Any]]:
    """Return what a notebook shows below a cell, as nbclient makes it of the messages, and saves."""
    client = NotebookClient(nbformat.v4.new_notebook(), record_timing=False)
    client.clear_before_next_output = False
    cell = nbformat.v4.new_code_cell("")
    for message in messages:
        if message.parent == sent.id and message.channel == "iopub":
            try:
                client.process_message({**dataclasses.asdict(message), "msg_type": message.type}, cell, 0)
            except CellExecutionComplete:
                break
    return [dict(output) for output in cell.outputs]


# ------------------------------------------------------------------------------------------------------------- the answer


def test_a_client_that_prefers_it_is_answered_with_202_and_a_kernel_that_starts(
    server: Server, start: Callable[..., Start]
) -> None:
    one = start(server=server)
    kernel_id = one.begin(headers=_ASYNC)
    assert (one.answer.status_code, one.answer.headers["Preference-Applied"]) == (202, "respond-async")
    assert one.answer.headers["Location"] == f"/api/kernels/{kernel_id}"
    assert one.answer.json()["execution_state"] == one.model["execution_state"] == "starting"
    one.may_go_on()
    wait_until(lambda: one.model["execution_state"] == "idle")


def test_where_the_administrator_wants_it_everybody_is_answered_with_201_at_once(gated: Start) -> None:
    gated.begin()
    assert (gated.answer.status_code, "Preference-Applied" in gated.answer.headers) == (201, False)
    assert gated.answer.json()["execution_state"] == "starting"


def test_a_client_that_waits_for_a_while_gets_a_kernel_that_is_up_by_then(gated: Start) -> None:
    gated.may_go_on()
    gated.begin(headers={"Prefer": "respond-async, wait=30"})
    assert (gated.answer.status_code, "Preference-Applied" in gated.answer.headers) == (201, False)
    assert gated.answer.json()["execution_state"] in {"idle", "busy"}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"name": "julia"}, 404, "julia"),
        ({"name": "missing"}, 500, "can't be executed"),
        ({"name": "gated", "env": {"KERNEL_LAUNCH_TIMEOUT": "soon"}}, 400, "KERNEL_LAUNCH_TIMEOUT"),
    ],
    ids=["unknown kernelspec", "no such program", "a value that is none"],
)
def test_what_can_be_refused_is_refused_in_the_answer_and_leaves_nothing(
    eager: Server, body: dict[str, Any], status: int, words: str
) -> None:
    before = eager.kernel_ids()
    answer = eager.request("POST", "/api/kernels", json=body)
    assert answer.status_code == status
    assert words in answer.json()["message"]
    assert eager.kernel_ids() == before


def test_kernels_that_start_count_for_the_limits_and_those_that_failed_do_not(start: Callable[..., Start]) -> None:
    failed, *others = [start("fails-when-told", KERNEL_GATE="/nonexistent") for _ in range(3)]
    failed.body["env"]["KERNEL_GATE"] = str(failed.gate)
    for one in (failed, *others):
        one.begin()
    one_more = start("fails-when-told", KERNEL_GATE="/nonexistent")
    with pytest.raises(AssertionError, match="at most 3"):
        one_more.begin()
    failed.may_go_on()
    wait_until(lambda: failed.model["execution_state"] == "dead")
    one_more.begin()


# ----------------------------------------------------------------------------------------------------- while it starts


def test_cells_that_are_sent_while_the_kernel_starts_run_in_order_once_it_is_up(gated: Start, protocol: str) -> None:
    with _connected(gated.server, gated.begin(), protocol=protocol) as client:
        asked = client.send("shell", "kernel_info_request", {})
        sent = [client.execute(f"print({number}, len(__import__('sys').modules) > 0)") for number in range(5)]
        client.round_trip()
        gated.may_go_on()
        told = _until_answered(client, sent[-1])
    assert [m.parent for m in told if m.type == "execute_reply"] == [one.id for one in sent]
    assert text_of(told) == "".join(f"{number} True\n" for number in range(5))
    (info,) = (m for m in told if m.type == "kernel_info_reply")
    assert (info.parent, info.content["status"]) == (asked.id, "ok")
    idle = next(index for index, m in enumerate(told) if m.content.get("execution_state") == "idle")
    assert idle < next(index for index, m in enumerate(told) if m.type == "stream")


def test_a_client_that_asks_nothing_hears_that_the_kernel_starts_and_then_that_it_is_idle(gated: Start) -> None:
    with _connected(gated.server, gated.begin()) as client:
        gated.may_go_on()
        client.wait_for(lambda message: message.content.get("execution_state") == "idle")


def test_a_cell_that_waits_shows_a_line_that_is_gone_when_it_runs(gated: Start) -> None:
    with _connected(gated.server, gated.begin()) as client:
        waiting, behind = (client.execute(code, store_history=True) for code in ("print('ran')", "2"))
        told = list(client.until(lambda message: message.type == "clear_output"))
        assert _shown(told, waiting) == [
            {"output_type": "display_data", "data": {"text/plain": "Waiting for the kernel to start."}, "metadata": {}}
        ]
        gated.may_go_on()
        told += _until_answered(client, behind)
    assert _shown(told, waiting) == [{"output_type": "stream", "name": "stdout", "text": "ran\n"}]
    assert [output["output_type"] for output in _shown(told, behind)] == ["execute_result"]


def test_a_cell_without_output_leaves_nothing_of_the_line_in_the_notebook(gated: Start) -> None:
    with _connected(gated.server, gated.begin()) as client:
        waiting = client.execute("pass", store_history=True)
        told = list(client.until(lambda message: message.type == "clear_output"))
        gated.may_go_on()
        told += client.collect(waiting)
    assert _shown(told, waiting) == []


def test_two_clients_run_their_cells_and_each_gets_its_own_replies(gated: Start) -> None:
    kernel_id = gated.begin()
    with _connected(gated.server, kernel_id) as one, _connected(gated.server, kernel_id) as other:
        sent = [client.execute(f"print('of {name}')") for client, name in ((one, "one"), (other, "other"))]
        for client in (one, other):
            client.round_trip()
        gated.may_go_on()
        told = [client.collect(cell) for client, cell in zip((one, other), sent, strict=True)]
    assert [text_of(messages) for messages in told] == ["of one\n", "of other\n"]
    assert [[m.type for m in messages].count("execute_reply") for messages in told] == [1, 1]


def test_a_client_whose_line_is_lost_while_the_kernel_starts_gets_everything_when_it_comes_back(gated: Start) -> None:
    kernel_id = gated.begin()
    with _connected(gated.server, kernel_id) as client:
        sent = client.execute("print('missed', flush=True)")
        client.round_trip()
        client.drop()
    gated.may_go_on()
    with KernelSocket(gated.server, kernel_id) as other:
        other.run("1")
    with KernelSocket(gated.server, kernel_id, session=client.session) as back:
        told = back.collect(sent)
    assert (text_of(told), [m.type for m in told].count("execute_reply")) == ("missed\n", 1)


def test_a_cell_beyond_the_bound_gets_an_error_and_the_others_run(gated: Start) -> None:
    with _connected(gated.server, gated.begin()) as client:
        sent = [client.execute("ran = globals().get('ran', 0) + 1") for _ in range(1000)]
        refused = client.execute("ran = 'too many'")
        *_, idle = answers = client.collect(refused)
        assert [m.content.get("ename") for m in answers] == [_NAME, _NAME, None]
        assert "1000 messages wait for it" in answers[0].content["evalue"]
        assert idle.content == {"execution_state": "idle"}
        gated.may_go_on()
        client.wait_for(lambda message: message.parent == sent[-1].id and message.type == "execute_reply", 60)
        assert text_of(client.run("print(ran)")) == "1000\n"


def test_code_is_taken_by_rest_while_the_kernel_starts_and_runs_when_it_is_up(gated: Start) -> None:
    path = f"/api/kernels/{gated.begin()}/executions"
    posted = gated.server.request("POST", path, json={"code": "print('by rest')"})
    assert (posted.status_code, posted.json()["state"]) == (202, "queued")
    gated.may_go_on()
    execution = f"{path}/{posted.json()['msg_id']}"
    wait_until(lambda: gated.server.request("GET", execution).json()["state"] == "ok")
    assert gated.server.request("GET", execution).json()["outputs"] == [
        {"output_type": "stream", "name": "stdout", "text": "by rest\n"}
    ]


@pytest.mark.parametrize("what", ["interrupt", "restart"])
def test_a_kernel_that_starts_can_neither_be_interrupted_nor_restarted(gated: Start, what: str) -> None:
    kernel_id = gated.begin()
    answer = gated.server.request("POST", f"/api/kernels/{kernel_id}/{what}")
    assert (answer.status_code, answer.json()["message"]) == (409, f"Kernel {kernel_id} is still starting.")
    gated.may_go_on()
    wait_until(lambda: gated.model["execution_state"] == "idle")


def test_a_kernel_that_is_deleted_while_it_starts_answers_what_waits_and_leaves_nothing(gated: Start) -> None:
    kernel_id = gated.begin()
    with _connected(gated.server, kernel_id) as client:
        sent = client.execute("1")
        client.round_trip()
        processes = len(gated.server.descendants())
        gated.server.stop_kernel(kernel_id)
        told = list(client.until(lambda message: message.content.get("execution_state") == "dead"))
    (reply,) = (m for m in told if m.type == "execute_reply")
    assert (reply.parent, reply.content["evalue"]) == (sent.id, "The kernel was deleted while it started.")
    assert gated.server.request("GET", f"/api/kernels/{kernel_id}").status_code == 404
    wait_until(lambda: len(gated.server.descendants()) < processes)


# ------------------------------------------------------------------------------------------------- a start that fails


def test_each_request_that_waits_is_told_why_the_kernel_never_came_up_and_then_that_it_is_dead(
    start: Callable[..., Start], protocol: str
) -> None:
    one = start("fails-when-told")
    kernel_id = one.begin()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(_connected(one.server, kernel_id, protocol=protocol)) for _ in range(2)]
        kinds = (("execute_request", {"code": "1"}), ("execute_request", {"code": "2"}), ("kernel_info_request", {}))
        sent = [[client.send("shell", *kind) for kind in kinds] for client in clients]
        for client in clients:
            client.round_trip()
        one.may_go_on()
        heard = [list(client.until(lambda message: message.content.get("execution_state") == "dead")) for client in clients]
    for told, (first, second, info) in zip(heard, sent, strict=True):
        answers = {request.id: [m for m in told if m.parent == request.id] for request in (first, second, info)}
        # What is shown stands below the first cell only.
        assert [m.type for m in answers[first.id]] == ["error", "execute_reply", "status"]
        assert [m.type for m in answers[second.id]] == ["execute_reply", "status"]
        assert [m.type for m in answers[info.id]] == ["kernel_info_reply", "status"]
        for messages in answers.values():
            *errors, idle = messages
            assert all("no licence for this kernel" in m.content["evalue"] for m in errors)
            assert idle.content == {"execution_state": "idle"}
    assert one.model["execution_state"] == "dead"
    assert "no licence for this kernel" in one.model["reason"]


def test_a_client_that_comes_after_the_failure_is_told_why_before_it_hears_that_the_kernel_is_dead(
    start: Callable[..., Start],
) -> None:
    one = start("fails-when-told")
    kernel_id = one.begin()
    one.may_go_on()
    wait_until(lambda: one.model["execution_state"] == "dead")
    with KernelSocket(one.server, kernel_id) as client:
        answers = client.collect(client.execute("1"))
        assert "no licence for this kernel" in answers[0].content["evalue"]
        client.wait_for(lambda message: message.content.get("execution_state") == "dead")


def test_a_kernel_that_never_came_up_is_listed_until_it_is_deleted(start: Callable[..., Start]) -> None:
    one = start("fails-when-told")
    kernel_id = one.begin()
    one.may_go_on()
    wait_until(lambda: one.model["execution_state"] == "dead")
    assert kernel_id in one.server.kernel_ids()
    assert one.server.request("DELETE", f"/api/kernels/{kernel_id}").status_code == 204
    assert kernel_id not in one.server.kernel_ids()


def test_a_kernel_that_never_came_up_can_be_started_again_and_its_clients_stay(start: Callable[..., Start]) -> None:
    one = start("fails-when-told")
    kernel_id = one.begin()
    with KernelSocket(one.server, kernel_id) as client:
        one.may_go_on()
        client.wait_for(lambda message: message.content.get("execution_state") == "dead")
        one.gate.with_suffix(".licence").touch()
        assert one.server.request("POST", f"/api/kernels/{kernel_id}/restart").status_code == 200
        assert text_of(client.run("print('up')")) == "up\n"
    assert "reason" not in one.model


def test_a_failure_that_is_found_while_the_client_still_waits_is_its_answer_and_leaves_nothing(eager: Server) -> None:
    answer = eager.request("POST", "/api/kernels", json={"name": "failing"}, headers={"Prefer": "wait=30"})
    assert answer.status_code == 500
    assert "no licence for this kernel" in answer.json()["message"]


# ---------------------------------------------------------------------------------------------------------- deadlines


def test_a_start_that_nobody_waits_for_ends_by_its_deadline(
    own_server: Callable[..., Server],
) -> None:
    server = own_server(settings={"PENDING_STARTS": "True", "PENDING_START_TIMEOUT": "1"})
    kernel_id = server.request("POST", "/api/kernels", json={"name": "mute", "env": {"KERNEL_LAUNCH_TIMEOUT": "1"}}).json()["id"]
    path = f"/api/kernels/{kernel_id}"
    wait_until(lambda: server.request("GET", path).json()["execution_state"] == "dead")
    assert "waited too long (1s)" in server.request("GET", path).json()["reason"]
    assert server.descendants() == []


def test_a_start_has_more_time_than_its_client_would_have_waited(own_server: Callable[..., Server], tmp_path: Path) -> None:
    server = own_server(settings={"PENDING_STARTS": "True"})
    one = Start(server, tmp_path, "gated", KERNEL_LAUNCH_TIMEOUT="1")
    with KernelSocket(server, one.begin()) as client:
        waiting = client.execute("print('in the end')", store_history=True)
        # Behind its own timeout.
        client.wait_for(lambda message: message.type == "clear_output")
        one.may_go_on()
        assert text_of(client.collect(waiting)) == "in the end\n"


# ----------------------------------------------------------------------------------------------------------- sessions


def test_a_session_has_a_kernel_that_starts_and_a_second_request_joins_it(server: Server, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    body = {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "gated", "env": {"KERNEL_GATE": str(gate)}}}
    with ThreadPoolExecutor(8) as executor:
        asked = [executor.submit(server.request, "POST", "/api/sessions", json=body, headers=_ASYNC) for _ in range(8)]
        answers = [one.result() for one in asked]
    assert {answer.status_code for answer in answers} == {202}
    (session_id,) = {answer.json()["id"] for answer in answers}
    (kernel_id,) = {answer.json()["kernel"]["id"] for answer in answers}
    assert answers[0].headers["Location"] == f"/api/sessions/{session_id}"
    assert answers[0].json()["kernel"]["execution_state"] == "starting"
    with _connected(server, kernel_id) as client, ThreadPoolExecutor(1) as executor:
        # Who doesn't prefer anything waits for it.
        waits = executor.submit(server.request, "POST", "/api/sessions", json=body)
        sent = client.execute("print('ran')")
        client.round_trip()
        assert not waits.done()
        gate.touch()
        assert text_of(client.collect(sent)) == "ran\n"
        assert (waits.result().status_code, waits.result().json()["id"]) == (201, session_id)
    assert server.request("DELETE", f"/api/sessions/{session_id}").status_code == 204


def test_a_session_whose_kernel_never_came_up_gets_another_one_when_it_is_asked_for_again(eager: Server, tmp_path: Path) -> None:
    env = {"KERNEL_GATE": str(tmp_path / "gate")}
    body = {"path": "b.ipynb", "type": "notebook", "kernel": {"name": "fails-when-told", "env": env}}
    first = eager.request("POST", "/api/sessions", json=body).json()
    (tmp_path / "gate").touch()
    wait_until(lambda: eager.request("GET", f"/api/kernels/{first['kernel']['id']}").json()["execution_state"] == "dead")
    (tmp_path / "gate.licence").touch()
    second = eager.request("POST", "/api/sessions", json=body).json()
    assert second["kernel"]["id"] != first["kernel"]["id"]
    assert eager.request("DELETE", f"/api/sessions/{second['id']}").status_code == 204
