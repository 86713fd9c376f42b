"""A gateway that doesn't know all kernels of the cluster, just after its start or without news: what it answers until it does."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests
import websocket
from tests.support.api_proxy import Fault
from tests.support.installation import NAME
from tests.support.jupyterlab import jupyter_server_before
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.servers import Workspace
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import Server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

_LOSS_SECONDS = 2
_NO_ANSWER = Fault()


@pytest.fixture
def server(installation, kubeconfig, proxy) -> Iterator[Server]:
    """A gateway whose way to the API server a test can break."""
    server = installation.gateway(
        kubeconfig=kubeconfig, KUBERNETES="on", LEADER_ELECTION="False", WATCH_LOSS_GRACE=str(_LOSS_SECONDS), MAX_KERNELS="50"
    ).start()
    yield server
    proxy.heal()
    if not server.running:
        server.launch()
    for kernel_id in server.wait_ready().kernel_ids():
        server.stop_kernel(kernel_id)
    server.stop()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def _answers(server: Server) -> bool:
    try:
        return server.request("GET", "/livez").ok
    except requests.ConnectionError:
        return False


def _websocket_status(server: Server, kernel_id: str) -> int:
    try:
        websocket.create_connection(f"{server.websocket_url}/api/kernels/{kernel_id}/channels", timeout=60).close()
    except websocket.WebSocketBadStatusException as refused:
        return refused.status_code
    return 101


def test_a_killed_gateway_that_is_back_before_its_cluster_answers_denies_no_kernel(server, proxy, tmp_path, threads):
    lab = jupyter_server_before(server, Workspace(root=tmp_path)).start()
    try:
        body = {"path": "a.ipynb", "name": "a", "type": "notebook", "kernel": {"name": NAME}}
        session = lab.request("POST", "/api/sessions", json=body).json()
        kernel_id = session["kernel"]["id"]
        with KernelSocket(lab, kernel_id) as client:
            client.run("kept = 6 * 7")

        proxy.set_hanging(on=True)
        server.kill()
        server.launch()
        wait_until(lambda: _answers(server), timeout=30)
        unknown = str(uuid.uuid4())
        paths = ("/api/kernels", f"/api/kernels/{kernel_id}", f"/api/kernels/{unknown}", "/api/sessions", "/api/images")
        # Twice: what a client is told when it asks again at once must be the same.
        for path in paths * 2:
            answer = server.request("GET", path)
            assert (path, answer.status_code) == (path, 503)
            assert int(answer.headers["Retry-After"]) > 0
        assert server.request("DELETE", f"/api/kernels/{kernel_id}").status_code == 503
        # These wait: for a kernel that is there, and for one that isn't.
        held = [threads.submit(_websocket_status, server, each) for each in (kernel_id, unknown)]
        starts = [
            {"name": NAME, "env": {"KERNEL_ID": kernel_id}},
            {"name": NAME},
            {"name": "python3", "env": {"KERNEL_ID": unknown}},
        ]
        assert [server.request("POST", "/api/kernels", json=start).status_code for start in starts] == [503] * 3
        assert server.request("GET", "/readyz").status_code == 503
        assert [lab.request("GET", "/api/kernels").status_code for _ in range(3)] == [503] * 3

        assert not any(each.done() for each in held)
        proxy.heal()
        server.wait_ready()
        assert [each.result(30) for each in held] == [101, 404]
        wait_until(lambda: lab.request("GET", "/api/kernels").ok, timeout=30)
        assert lab.kernel_ids() == {kernel_id}
        assert [each["id"] for each in lab.request("GET", "/api/sessions").json()] == [session["id"]]
        with KernelSocket(lab, kernel_id) as client:
            assert text_of(client.run("print(kept)")) == "42\n"
    finally:
        lab.kill()  # a Jupyter Server that has a gateway may wait for it for long


def test_a_gateway_that_lost_its_watch_for_long_says_so_and_still_serves_the_kernels_that_it_knows(server, proxy):
    kernel_id = server.start_kernel(NAME)
    proxy.fault = lambda _call: _NO_ANSWER
    proxy.reset_connections()
    wait_until(lambda: not server.request("GET", "/readyz").ok, timeout=30)
    wait_until(lambda: server.request("GET", "/api/kernels").status_code == 503, timeout=_LOSS_SECONDS + 30)
    for path in ("/api/kernels", "/api/sessions", "/api/images", f"/api/kernels/{uuid.uuid4()}"):
        answer = server.request("GET", path)
        assert (path, answer.status_code) == (path, 503)
    assert server.request("GET", f"/api/kernels/{kernel_id}").status_code == 200
    with KernelSocket(server, kernel_id) as client:
        assert text_of(client.run("print(6 * 7)")) == "42\n"
    # The number of kernels that exist isn't known now, so whether one more is allowed isn't either.
    assert server.request("POST", "/api/kernels", json={"name": "python3"}).status_code == 503

    proxy.heal()
    wait_until(lambda: server.request("GET", "/api/kernels").ok, timeout=30)
    assert server.kernel_ids() == {kernel_id}
