"""Starts that hold nobody up, as Jupyter Server and JupyterLab in a real browser have them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.gated_kernels import GatedKernels
from tests.support.jupyterlab import jupyter_server_before, jupyterlab_before, walk_in_browser
from tests.support.kernel_socket import KernelSocket, text_of
from websocket import WebSocketTimeoutException

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.installation import Installation
    from tests.support.servers import Server, Workspace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

PENDING = {"PENDING_STARTS": "True", "UNSCHEDULABLE_GRACE": "120", "IMAGE_PULL_GRACE": "3"}


@pytest.fixture(scope="module")
def missing(installation: Installation) -> str:
    """A kernelspec whose image doesn't exist."""
    return installation.add_kernelspec("no-such-image", config={"image_name": "elyra/does-not-exist:1"})


@pytest.fixture(scope="module")
def eager(installation: Installation, missing: str) -> Iterator[Server]:
    del missing  # there before the gateway reads its kernelspecs
    gateway = installation.gateway(**PENDING).start(90)
    yield gateway
    assert "Traceback" not in gateway.log
    gateway.stop()


@pytest.fixture
def gated(installation: Installation) -> Iterator[GatedKernels]:
    with GatedKernels(installation) as gated:
        yield gated


class Notebook:
    """A notebook with one cell, in a JupyterLab whose kernels are a gateway's."""

    def __init__(self, gateway: Server, workspace: Workspace, folder: Path, kernelspec: str, code: str) -> None:
        self.path = folder / "notebook.ipynb"
        cell = {"id": "cell", "cell_type": "code", "source": code, "metadata": {}, "outputs": [], "execution_count": None}
        metadata = {"kernelspec": {"name": kernelspec, "display_name": kernelspec, "language": "python"}}
        self.path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": [cell]}))
        self.lab = jupyterlab_before(gateway, workspace, notebooks=folder).start(60)

    @property
    def saved(self) -> list[dict[str, Any]]:
        """The outputs of its cell, as the file has them."""
        (cell,) = json.loads(self.path.read_text())["cells"]
        return cell["outputs"]

    def close(self) -> None:
        self.lab.kill()  # a Jupyter Server that has a gateway may wait for it for long


@pytest.fixture
def notebook(eager: Server, workspace: Workspace, tmp_path: Path) -> Iterator[Any]:
    made = []

    def make(kernelspec: str, code: str) -> Notebook:
        made.append(Notebook(eager, workspace, tmp_path, kernelspec, code))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_start_that_takes_longer_than_jupyter_server_waits_ends_well(
    eager: Server, workspace: Workspace, gated: GatedKernels
) -> None:
    timeouts = [f"--GatewayClient.{name}=3" for name in ("connect_timeout", "request_timeout")]
    server = jupyter_server_before(eager, workspace, *timeouts).start()
    try:
        kernel_id = server.start_kernel(gated.name)
        with KernelSocket(server, kernel_id) as client:
            sent = client.execute("print('in the end')", store_history=True)
            # Shown after two seconds, told again where its words change; then longer than the client would have waited.
            client.wait_for(lambda message: message.type == "display_data")
            assert server.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"] == "starting"
            with pytest.raises((TimeoutError, WebSocketTimeoutException)):
                list(client.messages(4))
            gated.open()
            assert text_of(client.collect(sent, 60)) == "in the end\n"
        server.stop_kernel(kernel_id)
    finally:
        server.kill()


def test_a_cell_that_is_run_the_moment_the_notebook_opens_runs(notebook: Any, gated: GatedKernels) -> None:
    opened = notebook(gated.name, "print('ran')")
    with walk_in_browser(opened.lab, "notebook.ipynb") as browser:
        try:
            assert browser.stdout is not None
            at_first = json.loads(browser.stdout.readline())
            gated.open()
            at_the_end = json.loads(browser.stdout.readline())
        finally:
            browser.terminate()
    assert at_first["prompt"] == "[*]:"
    assert "nodes are available" in at_first["shown"]
    assert (at_the_end["prompt"], at_the_end["shown"], at_the_end["status"]) == ("[1]:", "ran\n", "connected idle")
    assert opened.saved == [{"output_type": "stream", "name": "stdout", "text": ["ran\n"]}]


def test_a_missing_image_tells_its_reason_in_the_cell(notebook: Any, missing: str) -> None:
    opened = notebook(missing, "print('never')")
    with walk_in_browser(opened.lab, "notebook.ipynb") as browser:
        try:
            assert browser.stdout is not None
            told = [json.loads(line) for line in browser.stdout]
        finally:
            browser.terminate()
    assert "elyra/does-not-exist:1" in told[-1]["shown"]
    assert "*" not in told[-1]["prompt"]
