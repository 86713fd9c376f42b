"""What a kernel ran, asked for by who wasn't there: after a page was loaded again, by a script, on the command line."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.messages import request
from tests.support.servers import clean_environment
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import requests
    from tests.support.servers import Server, Workspace

pytestmark = pytest.mark.usefixtures("_ours")

_NOTEBOOK = "application/x-ipynb+json"

# Cells whose outputs a notebook keeps in a form that isn't just what was said.
_CELLS = [
    "print('one'); print('two')",
    "import sys; print('wrong', file=sys.stderr)",
    "for n in range(0, 101, 5):\n    print(f'\\r{n:3}% ' + '#' * (n // 5), end='', flush=True)\nprint()",
    "from IPython.display import *\nhandle = display('first', display_id='of-cell-4')\nhandle.update('second')",
    "handle.update(HTML('<b>third</b>')); 'unrelated'",
    "for n in range(5):\n    clear_output(wait=True)\n    print('step', n)",
    "print('old'); clear_output(); print('new')",
    "print('old'); display('also old'); clear_output(wait=True)",
    "display(HTML('<i>h</i>'), Markdown('*m*'), JSON({'a': [1, None]}), Image(b'\\x89PNG\\r\\n\\x1a\\n', format='png'))",
    "{'answer': 42}",
    "def broken():\n    return 1 / 0\nbroken()",
    "print('before'); raise ValueError('told')",
    "update_display('lost', display_id='nobody has shown it')",
    "''",
    "None",
]


def executions(server: Server, kernel_id: str, path: str = "", **rest: Any) -> requests.Response:
    return server.request("GET", f"/api/kernels/{kernel_id}/executions{path}", **rest)


def post(server: Server, kernel_id: str, code: str, **rest: Any) -> str:
    answer = server.request("POST", f"/api/kernels/{kernel_id}/executions", json={"code": code, **rest})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["msg_id"])


def wait_ended(server: Server, kernel_id: str, msg_id: str) -> dict[str, Any]:
    wait_until(lambda: executions(server, kernel_id, f"/{msg_id}").json()["ended"], timeout=60)
    return executions(server, kernel_id, f"/{msg_id}").json()


def stdout_of(model: dict[str, Any]) -> str:
    return "".join(output["text"] for output in model["outputs"] if output.get("name") == "stdout")


def events(answer: requests.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in answer.iter_lines(decode_unicode=True):
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


# ------------------------------------------------------------------------------------------------------------- outputs


def test_outputs_are_those_that_a_notebook_has(server: Server, own_kernel: str) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in _CELLS])
    NotebookClient(notebook, kernel_name="python3", allow_errors=True, coalesce_streams=True).execute()

    # One by one: a cell that fails has the kernel skip those that wait.
    for cell in _CELLS:
        wait_ended(server, own_kernel, post(server, own_kernel, cell))
    answer = executions(server, own_kernel, headers={"Accept": _NOTEBOOK})
    made = nbformat.reads(answer.text, as_version=4)
    nbformat.validate(made)
    assert answer.headers["Content-Type"] == _NOTEBOOK
    assert [cell.source for cell in made.cells] == _CELLS
    assert [cell.execution_count for cell in made.cells] == [cell.execution_count for cell in notebook.cells]
    for ours, theirs in zip(made.cells, notebook.cells, strict=True):
        assert ours.outputs == theirs.outputs, ours.source


def test_a_page_that_is_loaded_again_in_mid_cell_finds_every_line(
    server: Server, own_kernel: str, connect: Callable[..., KernelSocket], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    code = (
        f"import os, time\nfor n in range(200): print(n, flush=True)\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)"
    )
    code += "\nfor n in range(200, 400): print(n, flush=True)"
    first = connect(own_kernel)
    sent = first.execute(code)
    first.wait_for(lambda message: message.type == "stream")
    first.drop()

    wait_until(lambda: stdout_of(executions(server, own_kernel, f"/{sent.id}").json()).endswith("199\n"))
    second = connect(own_kernel)
    listed = executions(server, own_kernel).json()[-1]
    assert (listed["msg_id"], listed["state"], listed["code"], listed["ended"]) == (sent.id, "running", code, None)
    gate.touch()
    live = list(second.until(lambda message: message.type == "status" and message.content["execution_state"] == "idle"))

    model = wait_ended(server, own_kernel, sent.id)
    assert stdout_of(model) == "".join(f"{n}\n" for n in range(400))
    assert text_of(live) == "".join(f"{n}\n" for n in range(200, 400))
    assert (model["state"], model["truncated"]) == ("ok", False)


def test_the_requests_metadata_names_the_cell(server: Server, own_kernel: str, connect: Callable[..., KernelSocket]) -> None:
    socket = connect(own_kernel)
    content = {"code": "1", "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    message = socket.send("shell", "execute_request", content)
    socket.collect(message)
    msg_id = post(server, own_kernel, "2", metadata={"cellId": "0d1e", "deletedCells": []})
    wait_ended(server, own_kernel, msg_id)
    listed = executions(server, own_kernel).json()
    assert [one["metadata"] for one in listed] == [{}, {"cellId": "0d1e", "deletedCells": []}]
    assert [one["execution_count"] for one in listed] == [1, 2]
    one = executions(server, own_kernel, f"/{msg_id}", headers={"Accept": f"text/html, {_NOTEBOOK};q=0.9"})
    (cell,) = nbformat.reads(one.text, as_version=4).cells
    assert (cell.id, cell.source, cell.outputs[0].data["text/plain"]) == ("0d1e", "2", "2")


def test_text_that_json_can_only_escape_is_told(server: Server, own_kernel: str, connect: Callable[..., KernelSocket]) -> None:
    # Half of a character that takes two in JavaScript, as a browser sends it.
    socket = connect(own_kernel)
    message = request("shell", "execute_request", {"code": "1", "silent": False}, session=socket.session)
    socket.send_message(replace(message, metadata={"half": "\ud83d"}))
    wait_ended(server, own_kernel, message.id)
    assert executions(server, own_kernel).json()[0]["metadata"] == {"half": "\ud83d"}
    assert executions(server, own_kernel, f"/{message.id}").json()["metadata"] == {"half": "\ud83d"}
    assert "\\ud83d" in executions(server, own_kernel, headers={"Accept": _NOTEBOOK}).text


# ------------------------------------------------------------------------------------------------------------- running


def test_code_is_run_without_a_websocket(server: Server, own_kernel: str) -> None:
    answer = server.request("POST", f"/api/kernels/{own_kernel}/executions", json={"code": "6 * 7"})
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/api/kernels/{own_kernel}/executions/{answer.json()['msg_id']}"
    model = wait_ended(server, own_kernel, answer.json()["msg_id"])
    assert [output["data"]["text/plain"] for output in model["outputs"]] == ["42"]
    assert model["requested"] <= model["started"] <= model["ended"]


def test_everybody_who_is_connected_sees_what_is_run(
    server: Server, own_kernel: str, connect: Callable[..., KernelSocket]
) -> None:
    socket = connect(own_kernel)
    msg_id = post(server, own_kernel, "print('seen')")
    message = socket.wait_for(lambda message: message.type == "stream")
    assert (message.parent, message.content["text"]) == (msg_id, "seen\n")


def test_input_is_refused_by_the_kernel_where_nobody_can_be_asked(server: Server, own_kernel: str) -> None:
    model = wait_ended(server, own_kernel, post(server, own_kernel, "input()"))
    assert (model["state"], model["outputs"][0]["ename"]) == ("error", "StdinNotImplementedError")


def test_what_waits_behind_a_cell_that_fails_is_aborted(server: Server, own_kernel: str) -> None:
    failing = post(server, own_kernel, "import time; time.sleep(0.3); 1 / 0")
    waiting = post(server, own_kernel, "print('never')")
    assert wait_ended(server, own_kernel, failing)["state"] == "error"
    model = wait_ended(server, own_kernel, waiting)
    assert (model["state"], model["outputs"]) == ("aborted", [])


def test_a_kernel_that_dies_ends_its_executions_with_the_error_that_clients_get(
    server: Server, own_kernel: str, connect: Callable[..., KernelSocket], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    socket = connect(own_kernel)
    code = (
        f"import os, signal, time\nprint('last words', flush=True)\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
    )
    sent = socket.execute(code + "os.kill(os.getpid(), signal.SIGKILL)")
    socket.wait_for(lambda message: message.type == "stream")
    # Sent while the cell runs: what comes after the kernel's death waits for the next process.
    waiting = post(server, own_kernel, "2")
    gate.touch()
    error = next(message for message in socket.collect(sent) if message.type == "error")
    model = wait_ended(server, own_kernel, sent.id)
    assert model["state"] == "error"
    assert stdout_of(model) == "last words\n"
    assert model["outputs"][-1] == {"output_type": "error", **error.content}
    assert wait_ended(server, own_kernel, waiting)["state"] == "error"


def test_a_restart_ends_what_runs_and_keeps_what_was_said(server: Server, own_kernel: str) -> None:
    running = post(server, own_kernel, "import time; print('begun', flush=True); time.sleep(600)")
    wait_until(lambda: stdout_of(executions(server, own_kernel, f"/{running}").json()))
    assert server.request("POST", f"/api/kernels/{own_kernel}/restart").status_code == 200
    model = wait_ended(server, own_kernel, running)
    assert (model["state"], stdout_of(model)) == ("error", "begun\n")
    assert "restarted" in model["outputs"][-1]["evalue"]
    assert wait_ended(server, own_kernel, post(server, own_kernel, "print('again')"))["execution_count"] == 1


# ----------------------------------------------------------------------------------------------------------- following


def test_who_follows_gets_everything_as_it_comes_until_the_end(server: Server, own_kernel: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    msg_id = post(
        server,
        own_kernel,
        "import os, time\nfrom IPython.display import *\nprint('one', flush=True)\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
        "print('two', flush=True)\nclear_output(wait=True)\nprint('three')\nHTML('four')",
    )
    answer = executions(server, own_kernel, f"/{msg_id}?follow=true", stream=True)
    assert answer.headers["Content-Type"] == "text/event-stream"
    shown: list[dict[str, Any]] = []
    names = []
    for name, data in events(answer):
        names.append(name)
        if name == "keep":
            del shown[data["outputs"] :]
        elif name == "output":
            shown[data["index"] : data["index"] + 1] = [data["output"]]
        elif name == "text":
            shown[data["index"]]["text"] += data["text"]
        if shown and shown[0]["text"] == "one\n":
            gate.touch()
    model = executions(server, own_kernel, f"/{msg_id}").json()
    assert shown == model["outputs"]
    assert [output["output_type"] for output in shown] == ["stream", "execute_result"]
    assert (names[0], names[-1]) == ("execution", "end")
    assert data == {key: value for key, value in model.items() if key != "outputs"}


def test_who_follows_what_has_ended_gets_it_at_once(server: Server, own_kernel: str) -> None:
    msg_id = post(server, own_kernel, "print('done')")
    wait_ended(server, own_kernel, msg_id)
    answer = executions(server, own_kernel, f"/{msg_id}?follow=1", stream=True)
    assert [name for name, _ in events(answer)] == ["output", "end"]
    assert server.request("HEAD", f"/api/kernels/{own_kernel}/executions/{msg_id}?follow=1").status_code == 200


def test_a_follower_that_goes_away_and_a_kernel_that_goes_away_end_the_stream(
    own_server: Callable[..., Server],
) -> None:
    server = own_server()
    kernel_id = server.start_kernel()
    msg_id = post(server, kernel_id, "import time; print('begun', flush=True); time.sleep(600)")
    with executions(server, kernel_id, f"/{msg_id}?follow=true", stream=True) as answer:
        assert next(name for name, _ in events(answer)) == "execution"
    with executions(server, kernel_id, f"/{msg_id}?follow=true", stream=True) as answer:
        following = events(answer)
        assert next(name for name, _ in following if name == "output")
        server.stop_kernel(kernel_id)
        *_, (name, end) = following
    assert (name, end["state"]) == ("end", "error")
    assert "Traceback" not in server.log
    server.stop()


# --------------------------------------------------------------------------------------------------------------- refusals


def test_what_isnt_there_is_404_and_what_isnt_right_is_400(server: Server, kernel: str) -> None:
    unknown = executions(server, kernel, "/no-such-execution")
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "Not Found")
    assert executions(server, str(uuid.uuid4())).status_code == 404
    msg_id = post(server, kernel, "1")
    assert executions(server, kernel, f"/{msg_id}?follow=perhaps").status_code == 400
    for body in ({}, {"code": 1}, {"code": "1", "allow_stdin": True}):
        answer = server.request("POST", f"/api/kernels/{kernel}/executions", json=body)
        assert answer.status_code == 400, body


def test_a_kernels_executions_are_its_owners(own_server: Callable[..., Server], tmp_path: Path) -> None:
    users = tmp_path / "tokens"
    users.write_text("alice:token-a\nbob:token-b\n")
    server = own_server(token="", settings={"AUTH_TOKENS_FILE": str(users)})
    alice, bob = ({"Authorization": f"token token-{name}"} for name in "ab")
    kernel_id = server.request("POST", "/api/kernels", json={"name": "python3"}, headers=alice).json()["id"]
    path = f"/api/kernels/{kernel_id}/executions"
    msg_id = server.request("POST", path, json={"code": "'secret'"}, headers=alice).json()["msg_id"]
    assert server.request("GET", path, headers=alice).json()[0]["msg_id"] == msg_id
    for method, rest in (("GET", ""), ("POST", ""), ("GET", f"/{msg_id}"), ("GET", f"/{msg_id}?follow=true")):
        answer = server.request(method, path + rest, json={"code": "1"} if method == "POST" else None, headers=bob)
        assert answer.status_code == 404, (method, rest)
        assert kernel_id in answer.json()["message"]
    assert server.request("GET", path).status_code == 401
    server.request("DELETE", f"/api/kernels/{kernel_id}", headers=alice)


def test_the_administrators_rules_hold_here_as_well(own_server: Callable[..., Server]) -> None:
    server = own_server(settings={"ALLOW_TRACEBACKS": "False", "TRACEBACK_REPLACEMENT_MESSAGE": "not shown"})
    kernel_id = server.start_kernel()
    msg_id = post(server, kernel_id, "raise ValueError('secret')")
    model = wait_ended(server, kernel_id, msg_id)
    hidden = {"ename": "ExecutionError", "evalue": "Execution error", "traceback": ["not shown"], "output_type": "error"}
    assert model["outputs"] == [hidden]
    for answer in (
        executions(server, kernel_id, headers={"Accept": _NOTEBOOK}),
        executions(server, kernel_id, f"/{msg_id}?follow=true"),
    ):
        assert "not shown" in answer.text
        assert "ValueError: secret" not in answer.text

    dies = post(server, kernel_id, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert wait_ended(server, kernel_id, dies)["outputs"][-1]["ename"] == "DeadKernelError"

    refusing = own_server(settings={"ALLOWED_MESSAGE_TYPES": "kernel_info_request"})
    answer = refusing.request("POST", f"/api/kernels/{refusing.start_kernel()}/executions", json={"code": "1"})
    assert answer.status_code == 403
    assert "EG_ALLOWED_MESSAGE_TYPES" in answer.json()["message"]


def test_bounds_hold_and_what_is_missing_is_marked(own_server: Callable[..., Server]) -> None:
    server = own_server(settings={"EXECUTIONS_MAX_COUNT": "3", "EXECUTIONS_MAX_BYTES": "65536"})
    kernel_id = server.start_kernel()
    for number in range(4):
        last = wait_ended(server, kernel_id, post(server, kernel_id, f"for n in range(12000): print({number}, n)"))
    listed = executions(server, kernel_id).json()
    assert [one["code"][-5] for one in listed] == ["1", "2", "3"]
    assert all(one["truncated"] for one in listed)
    assert stdout_of(last).startswith("3 0\n3 1\n")
    assert stdout_of(last).endswith("3 11999\n")
    assert "left out" in stdout_of(last)

    none = own_server(settings={"EXECUTIONS_MAX_COUNT": "0"})
    assert executions(none, none.start_kernel()).status_code == 501


def test_clients_that_do_not_read_hold_so_much_memory_and_no_more(own_server: Callable[..., Server]) -> None:
    server = own_server()
    kernel_id = server.start_kernel()
    msg_id = post(server, kernel_id, "for n in range(70): print('x' * 100_000)")
    wait_ended(server, kernel_id, msg_id)
    path = f"/api/kernels/{kernel_id}/executions/{msg_id}"
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: token {server.token}\r\n\r\n".encode()
    refused = 0
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(30)
            client.connect(("127.0.0.1", server.port))
            client.sendall(head)
            refused += client.recv(12) == b"HTTP/1.1 503"
        assert refused == 20 - 9  # of 7 MB each, 9 are within 64 MiB
    wait_until(lambda: server.request("GET", path).status_code == 200)


# ----------------------------------------------------------------------------------------------------------- command line


def command(server: Server, workspace: Workspace, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "enterprise_gateway", "outputs", *arguments],
        env=clean_environment(workspace) | {"JUPYTER_GATEWAY_URL": server.url} | environment,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_the_command_line_writes_the_notebook(server: Server, own_kernel: str, workspace: Workspace, tmp_path: Path) -> None:
    msg_id = post(server, own_kernel, "print('é', 6 * 7)")
    wait_ended(server, own_kernel, msg_id)
    token = tmp_path / "token"
    token.write_text(server.token + "\n")
    made = command(server, workspace, own_kernel, "--token-file", str(token))
    assert (made.returncode, made.stderr) == (0, b"")
    (cell,) = nbformat.reads(made.stdout.decode(), as_version=4).cells
    assert (cell.source, cell.outputs[0].text) == ("print('é', 6 * 7)", "é 42\n")

    by_environment = command(server, workspace, own_kernel, JUPYTER_GATEWAY_AUTH_TOKEN=server.token)
    assert json.loads(by_environment.stdout) == json.loads(made.stdout)
    target = tmp_path / "one.json"
    options = ("--url", server.url + "/", "--execution", msg_id, "--json", "--output", str(target))
    assert command(server, workspace, own_kernel, *options, EG_AUTH_TOKEN=server.token).stdout == b""
    assert json.loads(target.read_bytes())["outputs"][0]["text"] == "é 42\n"


def test_the_command_line_says_what_went_wrong(server: Server, kernel: str, workspace: Workspace) -> None:
    for arguments, environment, wanted in [
        ((kernel,), {}, "answered 401: A token is needed"),
        ((kernel,), {"EG_AUTH_TOKEN": "wrong-token"}, "answered 401"),
        ((str(uuid.uuid4()),), {"EG_AUTH_TOKEN": server.token}, "answered 404: Kernel does not exist"),
        ((kernel, "--url", "http://127.0.0.1:1"), {}, "can't be reached"),
        ((kernel, "--url", "file:///etc/passwd"), {}, "isn't the URL of a gateway"),
        ((kernel, "--token-file", "/no/such/file"), {}, "can't be read"),
        ((kernel, "--ca-file", "/no/such/file"), {}, "certificate file can't be used"),
    ]:
        failed = command(server, workspace, *arguments, **environment)
        assert (failed.returncode, failed.stdout) == (1, b""), arguments
        text = failed.stderr.decode()
        assert text.startswith("jupyter enterprisegateway outputs: "), text
        assert wanted in text
        assert "Traceback" not in text
        assert "wrong-token" not in text


def test_the_command_line_explains_itself(server: Server, workspace: Workspace) -> None:
    shown = command(server, workspace, "--help")
    assert shown.returncode == 0
    assert b"missed.ipynb" in shown.stdout
    assert b"--token-file" in shown.stdout
