"""The REST interface as a client meets it; where it differs from Enterprise Gateway's, it differs on purpose."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.servers import Server

pytestmark = pytest.mark.usefixtures("_ours")


def test_the_root_of_the_api_tells_its_version(server: Server) -> None:
    assert {"version", "gateway_version"} <= set(server.request("GET", "/api").json())


def test_a_started_kernel_is_usable_and_has_a_location(server: Server) -> None:
    answer = server.request("POST", "/api/kernels", json={"name": "python3"})
    model = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/api/kernels/{model['id']}"
    assert server.request("GET", answer.headers["Location"]).json()["id"] == model["id"]
    assert set(model) >= {"id", "name", "last_activity", "execution_state", "connections"}
    assert model["execution_state"] in {"idle", "busy"}
    # Clients parse it by exactly this format.
    datetime.strptime(model["last_activity"], "%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: DTZ007 - the format ends in a literal Z
    server.stop_kernel(model["id"])


def test_a_start_without_a_body_starts_the_default_kernel(server: Server) -> None:
    answer = server.request("POST", "/api/kernels")
    assert (answer.status_code, answer.json()["name"]) == (201, "python3")
    server.stop_kernel(answer.json()["id"])


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "application/x-www-form-urlencoded", "text/plain;charset=UTF-8"]
)
def test_json_is_read_under_the_types_that_clients_give_it(server: Server, kind: str) -> None:
    # curl's `-d` says it is a form, JupyterLab's `fetch` says it is text.
    answer = server.request("POST", "/api/kernels", data=b'{"name": "no-such-name"}', headers={"Content-Type": kind})
    assert answer.status_code == 404
    assert "no-such-name" in answer.json()["message"]


def test_an_unknown_kernelspec_is_404_with_the_names_that_exist(server: Server) -> None:
    answer = server.request("POST", "/api/kernels", json={"name": "julia"})
    assert answer.status_code == 404
    assert "julia" in answer.json()["message"]
    assert "python3" in answer.json()["message"]


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


def test_a_kernel_is_listed_as_starting_while_it_starts(server: Server, gate: Path) -> None:
    kernel_id = str(uuid.uuid4())
    body = {"name": "gated", "env": {"KERNEL_ID": kernel_id, "KERNEL_GATE": str(gate)}}
    with ThreadPoolExecutor(1) as executor:
        start = executor.submit(server.request, "POST", "/api/kernels", json=body)
        wait_until(lambda: kernel_id in server.kernel_ids())
        assert server.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"] == "starting"
        assert not start.done()
        gate.touch()
        assert start.result(20).status_code == 201
    assert server.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"] != "starting"
    server.stop_kernel(kernel_id)


def test_a_kernel_can_be_deleted_while_it_starts(server: Server, gate: Path) -> None:
    kernel_id = str(uuid.uuid4())
    body = {"name": "gated", "env": {"KERNEL_ID": kernel_id, "KERNEL_GATE": str(gate)}}
    with ThreadPoolExecutor(1) as executor:
        start = executor.submit(server.request, "POST", "/api/kernels", json=body)
        wait_until(lambda: kernel_id in server.kernel_ids())
        assert server.request("DELETE", f"/api/kernels/{kernel_id}").status_code == 204
        answer = start.result(20)
    assert answer.status_code >= 400
    assert answer.json()["message"]
    assert kernel_id not in server.kernel_ids()
    wait_until(lambda: not any(str(gate) in child.environ().get("KERNEL_GATE", "") for child in server.descendants()))


def test_a_start_again_with_the_same_id_and_user_returns_that_kernel(server: Server) -> None:
    body = {"name": "python3", "env": {"KERNEL_ID": str(uuid.uuid4()), "KERNEL_USERNAME": "ada"}}
    first = server.request("POST", "/api/kernels", json=body)
    again = server.request("POST", "/api/kernels", json=body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"] == body["env"]["KERNEL_ID"]
    server.stop_kernel(first.json()["id"])


def test_two_starts_at_once_with_one_id_start_one_kernel(server: Server) -> None:
    body = {"name": "python3", "env": {"KERNEL_ID": str(uuid.uuid4()), "KERNEL_USERNAME": "ada"}}
    with ThreadPoolExecutor(3) as executor:
        answers = list(executor.map(lambda _: server.request("POST", "/api/kernels", json=body), range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 201]
    kernel_id = body["env"]["KERNEL_ID"]
    kernels = [child for child in server.descendants() if child.environ().get("KERNEL_ID") == kernel_id]
    assert len([child for child in kernels if child.ppid() == server.process.pid]) == 1
    server.stop_kernel(kernel_id)


def test_an_id_that_is_taken_by_another_user_is_a_conflict(server: Server) -> None:
    env = {"KERNEL_ID": str(uuid.uuid4()), "KERNEL_USERNAME": "ada"}
    server.start_kernel(env=env)
    answer = server.request("POST", "/api/kernels", json={"name": "python3", "env": env | {"KERNEL_USERNAME": "bob"}})
    assert answer.status_code == 409
    assert "ada" not in answer.text
    server.stop_kernel(env["KERNEL_ID"])


@pytest.mark.parametrize(("name", "words"), [("failing", "no licence for this kernel"), ("missing", "can't be executed")])
def test_a_start_that_fails_says_why_and_leaves_nothing(server: Server, name: str, words: str) -> None:
    before, processes = server.kernel_ids(), {child.pid for child in server.descendants()}
    begun = time.monotonic()
    answer = server.request("POST", "/api/kernels", json={"name": name})
    assert time.monotonic() - begun < 5
    assert answer.status_code == 500
    assert words in answer.json()["message"]
    assert "Traceback" not in answer.text
    assert server.kernel_ids() == before
    assert {child.pid for child in server.descendants()} <= processes


def test_a_kernel_that_never_answers_fails_after_its_launch_timeout(server: Server) -> None:
    before = server.kernel_ids()
    answer = server.request("POST", "/api/kernels", json={"name": "mute", "env": {"KERNEL_LAUNCH_TIMEOUT": "1"}})
    assert answer.status_code == 500
    assert "KERNEL_LAUNCH_TIMEOUT" in answer.json()["message"] or "1 s" in answer.json()["message"]
    assert server.kernel_ids() == before
    assert not any("time.sleep(600)" in " ".join(child.cmdline()) for child in server.descendants())


def test_unknown_ids_are_404_on_every_verb(server: Server) -> None:
    unknown = uuid.uuid4()
    for method, path in [("GET", ""), ("DELETE", ""), ("POST", "/interrupt"), ("POST", "/restart"), ("GET", "/channels")]:
        answer = server.request(method, f"/api/kernels/{unknown}{path}")
        assert answer.status_code == 404, (method, path)
        assert set(answer.json()) == {"reason", "message"}
        assert str(unknown) in answer.json()["message"]


def test_interrupt_restart_and_delete_answer_as_documented(server: Server, own_kernel: str) -> None:
    path = f"/api/kernels/{own_kernel}"
    assert server.request("POST", path + "/interrupt", json={}).status_code == 204
    answer = server.request("POST", path + "/restart", json={})
    assert (answer.status_code, answer.json()["id"]) == (200, own_kernel)
    assert server.request("DELETE", path).status_code == 204
    assert server.request("DELETE", path).status_code == 404


def test_the_limits_of_kernels_are_kept_when_many_start_at_once(own_server: Callable[..., Server]) -> None:
    server = own_server(settings={"MAX_KERNELS": "2"})
    with ThreadPoolExecutor(4) as executor:
        answers = list(executor.map(lambda _: server.request("POST", "/api/kernels", json={}), range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 403, 403]
    assert {answer.json()["reason"] for answer in answers if answer.status_code == 403} == {"Resource Limit"}


def test_a_session_that_gets_another_kernel_ends_the_one_before_unless_a_session_has_it(server: Server) -> None:
    def open_session(**kernel: str) -> dict[str, Any]:
        body = {"path": f"{uuid.uuid4()}.ipynb", "type": "notebook", "name": "a", "kernel": kernel}
        session: dict[str, Any] = server.request("POST", "/api/sessions", json=body).json()
        return session

    first = open_session(name="python3")
    kernel_id = first["kernel"]["id"]
    second = open_session(id=kernel_id)
    for session, lives in ((first, True), (second, False)):
        changed = server.request("PATCH", f"/api/sessions/{session['id']}", json={"kernel": {"name": "python3"}}).json()
        assert changed["kernel"]["id"] != kernel_id
        assert (kernel_id in server.kernel_ids()) is lives
    for session in (first, second):
        assert server.request("DELETE", f"/api/sessions/{session['id']}").status_code == 204


def test_a_session_has_a_kernel_and_passes_env_on(server: Server) -> None:
    body = {
        "path": f"{uuid.uuid4()}.ipynb",
        "type": "notebook",
        "name": "a",
        "kernel": {"name": "with-env"},
        "env": {"KERNEL_USERNAME": "ada"},
    }
    created = server.request("POST", "/api/sessions", json=body)
    assert created.status_code == 201, created.text
    session = created.json()
    assert created.headers["Location"].endswith(f"/api/sessions/{session['id']}")
    assert session["id"] in {listed["id"] for listed in server.request("GET", "/api/sessions").json()}
    with KernelSocket(server, session["kernel"]["id"]) as client:
        printed = text_of(client.run("import os; print(os.environ['KERNEL_USERNAME'], os.environ['SPEC_OF_USER'])"))
    assert printed == "ada of ada\n"
    path = f"/api/sessions/{session['id']}"
    assert server.request("PATCH", path, json={"name": "b"}).json()["name"] == "b"
    assert server.request("DELETE", path).status_code == 204
    assert server.request("GET", path).status_code == 404
    assert session["kernel"]["id"] not in server.kernel_ids()


@pytest.mark.usefixtures("_ours")
def test_a_client_chooses_the_id_of_its_kernel_as_in_jupyter_servers_api(server: Server) -> None:
    kernel_id = str(uuid.uuid4())
    started = server.request("POST", "/api/kernels", json={"name": "python3", "kernel_id": kernel_id})
    assert (started.status_code, started.json()["id"]) == (201, kernel_id)
    server.stop_kernel(kernel_id)
    refused = server.request("POST", "/api/kernels", json={"name": "python3", "kernel_id": "../etc"})
    assert (refused.status_code, "KERNEL_ID" in refused.json()["message"]) == (400, True)
