"""What a script sees that uses `jupyter_kernel_client`: a `Bearer` token and the v1 protocol."""

from __future__ import annotations

import time
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from jupyter_kernel_client import JupyterKernelClient
from jupyter_kernel_client.client import output_hook
from requests import HTTPError
from tests.support.cells import WAITS_FOR_AN_INTERRUPT
from tests.support.websocket_client import short_select

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import Server

# The peer knows no `Bearer`.
pytestmark = pytest.mark.usefixtures("_ours")


@pytest.fixture(autouse=True)
def _short_select(monkeypatch: pytest.MonkeyPatch) -> None:
    short_select(monkeypatch)


@pytest.fixture
def client(server: Server, kernel: str) -> Iterator[JupyterKernelClient]:
    with JupyterKernelClient(server_url=server.url, token=server.token, kernel_id=kernel) as client:
        yield client


def test_its_context_starts_a_kernel_and_ends_it(server: Server) -> None:
    before = server.kernel_ids()
    with JupyterKernelClient(server_url=server.url, token=server.token) as client:
        (started,) = server.kernel_ids() - before
        assert client.id == started
        assert client.execute("6 * 7")["outputs"][0]["data"]["text/plain"] == "42"
    assert server.kernel_ids() == before


def test_output_and_errors_arrive(client: JupyterKernelClient) -> None:
    assert client.execute("print('Ω')")["outputs"] == [{"output_type": "stream", "name": "stdout", "text": "Ω\n"}]
    failed = client.execute("1 / 0")
    assert (failed["status"], failed["outputs"][0]["ename"]) == ("error", "ZeroDivisionError")


def test_a_variable_comes_back(client: JupyterKernelClient) -> None:
    client.execute("answer = 42")
    assert "answer" in {variable["name"] for variable in client.list_variables()}


def test_input_is_answered(client: JupyterKernelClient) -> None:
    outputs: list[dict] = []
    client.execute_interactive(
        "print(input('name? '))",
        allow_stdin=True,
        stdin_hook=lambda _: client._manager.client.input("Ada"),
        output_hook=partial(output_hook, outputs),
        timeout=20,
    )
    assert outputs[-1]["text"] == "Ada\n"


def test_a_running_cell_is_interrupted(client: JupyterKernelClient) -> None:
    outputs: list[dict] = []
    replies: list[dict] = []

    def run() -> None:
        hook = partial(output_hook, outputs)
        replies.append(client.execute_interactive(WAITS_FOR_AN_INTERRUPT, output_hook=hook))

    thread = Thread(target=run)
    thread.start()
    while not outputs:
        time.sleep(0.02)
    client.interrupt()
    thread.join(20)
    assert replies[0]["content"]["ename"] == "KeyboardInterrupt"


def test_a_restart_loses_the_state(server: Server, own_kernel: str) -> None:
    with JupyterKernelClient(server_url=server.url, token=server.token, kernel_id=own_kernel) as client:
        client.execute("value = 1")
        client.restart()
        assert client.execute("value")["outputs"][0]["ename"] == "NameError"


def test_a_wrong_token_is_refused(server: Server) -> None:
    with pytest.raises(HTTPError) as caught, JupyterKernelClient(server_url=server.url, token="wrong"):
        pass
    assert caught.value.response.status_code == 401
