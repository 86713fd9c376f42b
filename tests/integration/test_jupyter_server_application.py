"""A real Jupyter Server with `--gateway-url`, which is what a JupyterLab user has between the browser and the gateway.

What it can't do with any gateway, so what isn't tested through it: it speaks only the legacy protocol to a gateway, and it
decodes every binary frame as UTF-8 before it passes it on (gateway/connections.py), so messages with buffers never arrive.
"""

from __future__ import annotations

import os
import signal
import uuid
from typing import TYPE_CHECKING

import pytest
from tests.support.cells import WAITS_FOR_AN_INTERRUPT
from tests.support.jupyterlab import jupyter_server_before
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.servers import free_port
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.servers import Server, Workspace


@pytest.fixture(scope="module")
def lab(server: Server, workspace: Workspace) -> Iterator[Server]:
    """The server that a browser talks to; `server` is the gateway behind it."""
    lab = jupyter_server_before(server, workspace).start()
    yield lab
    lab.stop()


@pytest.fixture(scope="module")
def lab_kernel(lab: Server) -> str:
    return lab.start_kernel()


@pytest.fixture
def client(lab: Server, lab_kernel: str) -> Iterator[KernelSocket]:
    with KernelSocket(lab, lab_kernel) as client:
        yield client


def _models(lab: Server) -> list[dict[str, str]]:
    answer = lab.request("GET", "/api/kernels")
    assert answer.status_code == 200, answer.text
    return answer.json()


def _answers(lab: Server, kernel_id: str, code: str) -> str:
    with KernelSocket(lab, kernel_id) as client:
        return text_of(client.run(code))


def test_its_launcher_shows_the_kernelspecs_of_the_gateway(lab: Server) -> None:
    specs = lab.request("GET", "/api/kernelspecs").json()
    assert {"python3", "with-env"} <= set(specs["kernelspecs"])
    assert specs["default"] == "python3"


def test_a_logo_comes_from_the_gateway(lab: Server) -> None:
    logo = lab.request("GET", "/api/kernelspecs").json()["kernelspecs"]["python3"]["resources"]["logo-64x64"]
    answer = lab.request("GET", logo)
    assert answer.status_code == 200
    assert answer.content.startswith(b"\x89PNG")


def test_its_kernel_is_a_kernel_of_the_gateway_and_of_its_user(lab: Server, server: Server, lab_kernel: str) -> None:
    assert lab_kernel in server.kernel_ids()
    assert lab_kernel in lab.kernel_ids()
    with KernelSocket(lab, lab_kernel) as client:
        assert text_of(client.run("import os; print(os.environ['KERNEL_USERNAME'])")) == "ada\n"


def test_a_cell_runs_and_displays(client: KernelSocket) -> None:
    answers = client.run("from IPython.display import HTML, display\nprint('Ω')\ndisplay(HTML('<b>bold</b>'))")
    assert text_of(answers) == "Ω\n"
    (shown,) = (message for message in answers if message.type == "display_data")
    assert shown.content["data"]["text/html"] == "<b>bold</b>"


def test_a_running_cell_is_interrupted(lab: Server, lab_kernel: str, client: KernelSocket) -> None:
    sent = client.execute(WAITS_FOR_AN_INTERRUPT)
    client.wait_for(lambda message: message.type == "stream")
    assert lab.request("POST", f"/api/kernels/{lab_kernel}/interrupt").status_code == 204
    assert "KeyboardInterrupt" in [message.content.get("ename") for message in client.collect(sent, timeout=10)]


def test_input_is_asked_and_answered(client: KernelSocket) -> None:
    sent = client.execute("print(input('name? '))", allow_stdin=True)
    client.wait_for(lambda message: message.type == "input_request")
    client.send("stdin", "input_reply", {"value": "Ada", "status": "ok"})
    assert text_of(client.collect(sent)) == "Ada\n"


def test_a_comm_message_without_buffers_reaches_the_kernel(client: KernelSocket) -> None:
    client.run(
        "from comm import get_comm_manager\n"
        "get_comm_manager().register_target('hello', lambda comm, opened: comm.send({'seen': opened['content']['data']}))"
    )
    content = {"comm_id": uuid.uuid4().hex, "target_name": "hello", "data": {"from": "lab"}}
    client.send("shell", "comm_open", content)
    assert client.wait_for(lambda message: message.type == "comm_msg").content["data"] == {"seen": {"from": "lab"}}


def test_a_restart_keeps_the_id_and_loses_the_state(lab: Server, lab_kernel: str, client: KernelSocket) -> None:
    client.run("value = 1")
    answer = lab.request("POST", f"/api/kernels/{lab_kernel}/restart")
    assert (answer.status_code, answer.json()["id"]) == (200, lab_kernel)
    assert text_of(client.run("print('value' in globals())")) == "False\n"


def test_the_browser_is_told_when_a_kernel_dies_and_comes_back(lab: Server, client: KernelSocket, lab_kernel: str) -> None:
    pid = int(text_of(client.run("import os; print(os.getpid())")))
    os.kill(pid, signal.SIGKILL)
    client.wait_for(lambda message: message.content.get("execution_state") in {"restarting", "autorestarting"}, timeout=15)
    # The list is asked of the gateway each time; a single kernel's model is what the list said last.
    wait_until(lambda: {"idle"} == {model["execution_state"] for model in _models(lab) if model["id"] == lab_kernel})
    assert int(text_of(client.run("import os; print(os.getpid())"))) != pid


def test_why_a_kernel_does_not_start_is_told_there(lab: Server) -> None:
    answer = lab.request("POST", "/api/kernels", json={"name": "failing"})
    assert answer.status_code == 500
    # Its answer to the browser holds the words' template only (a fault of APIHandler.write_error); its log holds the words.
    assert "Error from Gateway" in answer.json()["message"]
    assert "no licence for this kernel" in lab.log


def test_a_gateway_that_goes_away_and_comes_back_is_used_again(own_server: Callable[..., Server], workspace: Workspace) -> None:
    gateway = own_server(port=free_port())
    lab = jupyter_server_before(gateway, workspace).start()
    try:
        before = lab.start_kernel()
        assert _answers(lab, before, "print(1)") == "1\n"
        gateway.stop()
        assert lab.request("GET", "/api/kernels").status_code == 503
        gateway.start()
        # The list is the gateway's, so a kernel that ended with it is no longer shown.
        assert before not in {model["id"] for model in _models(lab)}
        assert _answers(lab, lab.start_kernel(), "print(2)") == "2\n"
    finally:
        lab.kill()  # with its gateway away, a Jupyter Server doesn't end on SIGTERM


def test_shutting_down_there_ends_the_kernel_here(lab: Server, server: Server) -> None:
    kernel_id = lab.start_kernel()
    assert lab.request("DELETE", f"/api/kernels/{kernel_id}").status_code == 204
    assert kernel_id not in server.kernel_ids()
