"""jupyter_server's own gateway classes in this process, and nbclient on top of them: what papermill and nbconvert do.

`GatewayKernelClient` opens its websocket without the token (gateway/managers.py), so these tests use a server without one.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING

import nbformat
import pytest
import requests
from jupyter_server.gateway.gateway_client import GatewayClient
from jupyter_server.gateway.managers import GatewayKernelManager, GatewayKernelSpecManager, GatewayMappingKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from tests.support.cells import WAITS_FOR_AN_INTERRUPT
from tests.support.servers import Product, Server, Workspace, free_port
from tests.support.waiting import wait_until
from tornado.web import HTTPError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from jupyter_server.gateway.managers import GatewayKernelClient


@pytest.fixture(scope="module")
def open_server(product: Product, workspace: Workspace) -> Iterator[Server]:
    server = Server(product=product, workspace=workspace).start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _gateway_client(open_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The singleton that all of jupyter_server's gateway classes ask."""
    monkeypatch.setenv("KERNEL_USERNAME", "ada")
    GatewayClient.instance().url = open_server.url


class _Console:
    """Runs code through a `GatewayKernelClient`, whose `execute_interactive` would poll ZMQ sockets that it doesn't have."""

    def __init__(self, client: GatewayKernelClient) -> None:
        self.client = client

    async def stream_until_idle(self, msg_id: str) -> AsyncIterator[dict]:
        while True:
            message = await self.client.get_iopub_msg(timeout=20)
            if message["parent_header"].get("msg_id") != msg_id:
                continue
            yield message
            if message["content"].get("execution_state") == "idle":
                return

    async def reply_to(self, msg_id: str) -> dict:
        while True:
            message = await self.client.get_shell_msg(timeout=20)
            if message["parent_header"].get("msg_id") == msg_id:
                return message["content"]

    async def run(self, code: str) -> tuple[str, dict]:
        """Return what was printed, and the reply."""
        msg_id = self.client.execute(code)
        printed = [m["content"]["text"] async for m in self.stream_until_idle(msg_id) if m["msg_type"] == "stream"]
        return "".join(printed), await self.reply_to(msg_id)


def test_a_kernel_manager_starts_executes_interrupts_restarts_and_shuts_down(open_server: Server) -> None:
    async def story() -> None:
        manager = GatewayKernelManager()
        await manager.start_kernel(kernel_name="python3")
        client = manager.client()
        await client.start_channels()
        console = _Console(client)
        printed, reply = await console.run("value = 6 * 7; print(value)")
        assert (printed, reply["status"]) == ("42\n", "ok")

        msg_id = client.execute(WAITS_FOR_AN_INTERRUPT)
        async for message in console.stream_until_idle(msg_id):
            if message["msg_type"] == "stream":
                await manager.interrupt_kernel()
        assert (await console.reply_to(msg_id))["ename"] == "KeyboardInterrupt"

        await manager.restart_kernel()
        assert (await console.run("value"))[1]["ename"] == "NameError"

        assert await manager.is_alive()
        client.stop_channels()
        await manager.shutdown_kernel()
        assert manager.kernel_id not in open_server.kernel_ids()

    asyncio.run(story())


def test_a_mapping_manager_reads_the_models_and_notices_a_kernel_that_ended_elsewhere(open_server: Server) -> None:
    async def story() -> None:
        managers = GatewayMappingKernelManager()
        kernel_id, other = [await managers.start_kernel(kernel_name="python3") for _ in range(2)]
        models = {model["id"]: model for model in await managers.list_kernels()}
        assert set(models) == {kernel_id, other}
        # `refresh_model` has parsed the time by its format with microseconds; a wrong one raises.
        assert managers.get_kernel(kernel_id).last_activity.tzinfo is not None
        open_server.stop_kernel(kernel_id)
        assert {model["id"] for model in await managers.list_kernels()} == {other}
        await managers.shutdown_all()
        assert other not in open_server.kernel_ids()

    asyncio.run(story())


@pytest.fixture
def server_without_its_cluster(product: Product, workspace: Workspace, tmp_path: Path) -> Iterator[Server]:
    """A gateway that is told to have a cluster whose API server doesn't answer, as one that has only just started."""
    if product is not Product.GATEWAY:
        pytest.skip("a promise of our gateway only")
    kubeconfig = tmp_path / "kubeconfig"
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{free_port()}"}}],
        "users": [{"name": "u", "user": {}}],
    }
    kubeconfig.write_text(json.dumps(content))
    server = Server(
        product=product, workspace=workspace, settings={"KUBERNETES": "on"}, environment={"KUBECONFIG": str(kubeconfig)}
    ).launch()
    wait_until(lambda: _is_alive(server), timeout=30)
    yield server
    server.stop()


def _is_alive(server: Server) -> bool:
    try:
        return server.request("GET", "/livez").ok
    except requests.ConnectionError:
        return False


def test_a_mapping_manager_keeps_its_kernels_while_the_gateway_cant_tell_which_there_are(
    server_without_its_cluster: Server,
) -> None:
    GatewayClient.instance().url = server_without_its_cluster.url

    async def story() -> None:
        managers = GatewayMappingKernelManager()
        kernel_id = await managers.start_kernel(kernel_name="python3")
        unknown = str(uuid.uuid4())
        managers._kernels[unknown] = managers.get_kernel(kernel_id)
        for _ in range(3):
            with pytest.raises(HTTPError) as caught:
                await managers.list_kernels()
            assert caught.value.status_code == 503
        # A list without the second one, and any error when it asked for that by its id, would have made it forget it.
        assert set(managers.list_kernel_ids()) == {kernel_id, unknown}
        del managers._kernels[unknown]
        await managers.shutdown_all()

    asyncio.run(story())


def test_an_unknown_kernelspec_is_told_in_the_gateways_words(product: Product) -> None:
    async def story() -> None:
        with pytest.raises(HTTPError) as caught:
            await GatewayKernelManager().start_kernel(kernel_name="julia")
        assert "julia" in str(caught.value)
        if product is Product.GATEWAY:
            assert caught.value.status_code == 404
            assert "python3" in str(caught.value)

    asyncio.run(story())


def test_the_kernelspec_manager_reads_one_spec_and_says_which_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    # With a user it asks for `/api/kernelspecs?user=ada/python3`.
    monkeypatch.delenv("KERNEL_USERNAME")

    async def story() -> None:
        manager = GatewayKernelSpecManager()
        assert (await manager.get_kernel_spec("python3"))["spec"]["language"] == "python"
        with pytest.raises(KeyError, match="julia"):
            await manager.get_kernel_spec("julia")
        assert (await manager.get_kernel_spec_resource("python3", "logo-32x32.png")).startswith(b"\x89PNG")
        assert await manager.get_kernel_spec_resource("python3", "no-such-file.png") is None

    asyncio.run(story())


def _notebook(*cells: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell, id=uuid.uuid4().hex[:8]) for cell in cells])


def _execute(notebook: nbformat.NotebookNode, **options: object) -> None:
    options = {"kernel_manager_class": GatewayKernelManager, "kernel_name": "python3", "timeout": 30, **options}
    client = NotebookClient(notebook, **options)
    # What `execute()` does, but in a loop that ends with its threads; nbclient keeps one for the whole process.
    asyncio.run(client.async_execute())


def test_nbclient_executes_a_notebook(open_server: Server) -> None:
    notebook = _notebook(
        "a = 1",
        "print('printed'); a + 1",
        "import sys; print('err', file=sys.stderr)",
        "from IPython.display import HTML; HTML('<i>')",
    )
    before = open_server.kernel_ids()
    _execute(notebook)
    texts = [[output.get("text") or output["data"] for output in cell.outputs] for cell in notebook.cells]
    assert texts[:3] == [[], ["printed\n", {"text/plain": "2"}], ["err\n"]]
    assert texts[3][0]["text/html"] == "<i>"
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3, 4]
    assert open_server.kernel_ids() == before


def test_nbclient_stops_at_the_cell_that_fails(open_server: Server) -> None:
    notebook = _notebook("1 / 0", "print('never')")
    before = open_server.kernel_ids()
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        _execute(notebook)
    assert notebook.cells[1].outputs == []
    assert open_server.kernel_ids() == before


@pytest.mark.parametrize("limit", ["5", "0"], ids=["restarted", "given up"])
@pytest.mark.usefixtures("_ours")
def test_nbclient_stops_at_the_cell_whose_kernel_died_and_says_why(own_server: Callable[..., Server], limit: str) -> None:
    server = own_server(token="", settings={"RESTART_LIMIT": limit})
    GatewayClient.instance().url = server.url
    notebook = _notebook("a = 1", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "print('never')")
    with pytest.raises(CellExecutionError, match=r"DeadKernelError: .*SIGKILL"):
        _execute(notebook)
    (output,) = notebook.cells[1].outputs
    assert (output.output_type, output.ename) == ("error", "DeadKernelError")
    assert notebook.cells[2].outputs == []


@pytest.mark.parametrize("limit", ["5", "0"], ids=["restarted", "given up"])
@pytest.mark.usefixtures("_ours")
def test_nbclient_that_allows_errors_gets_to_the_end_of_the_notebook(own_server: Callable[..., Server], limit: str) -> None:
    server = own_server(token="", settings={"RESTART_LIMIT": limit})
    GatewayClient.instance().url = server.url
    notebook = _notebook("a = 1", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "a")
    _execute(notebook, allow_errors=True)
    names = [[output.ename for output in cell.outputs] for cell in notebook.cells]
    assert names == [[], ["DeadKernelError"], {"5": ["NameError"], "0": ["DeadKernelError"]}[limit]]
