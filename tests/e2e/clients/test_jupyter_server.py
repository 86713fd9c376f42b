"""A plain Jupyter Server, without a gateway, whose kernels the provisioner starts in pods."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from tests.support.cells import WAITS_FOR_AN_INTERRUPT
from tests.support.installation import NAME
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.servers import Product
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.installation import Installation
    from tests.support.servers import Server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]


@pytest.fixture
def server(installation: Installation) -> Iterator[Server]:
    """A Jupyter Server that has the kernelspec and the package installed, and nothing else of ours."""
    environment = {"KUBECONFIG": os.environ["KUBECONFIG"], "EG_INSTANCE": installation.cluster.instance}
    server = installation.server(Product.JUPYTER_SERVER, token="own-token", environment=environment).start()
    yield server
    if server.running:
        server.stop()


def test_its_kernels_run_in_pods_are_interrupted_restart_and_leave_nothing(server: Server, installation: Installation) -> None:
    cluster = installation.cluster
    kernel_id = server.start_kernel(NAME)
    with KernelSocket(server, kernel_id) as client:
        client.run("kept = 1")
        pod = cluster.pod(kernel_id)
        assert text_of(client.run("import socket; print(socket.gethostname())")).strip() == pod["metadata"]["name"]
        sent = client.execute(WAITS_FOR_AN_INTERRUPT)
        client.wait_for(lambda message: message.type == "stream")
        assert server.request("POST", f"/api/kernels/{kernel_id}/interrupt").status_code == 204
        assert "KeyboardInterrupt" in [message.content.get("ename") for message in client.collect(sent, timeout=20)]
        assert server.request("POST", f"/api/kernels/{kernel_id}/restart").status_code == 200
    with KernelSocket(server, kernel_id) as client:
        assert text_of(client.run("print('kept' in globals())")) == "False\n"
    assert cluster.pod(kernel_id)["metadata"]["uid"] != pod["metadata"]["uid"]

    server.stop_kernel(kernel_id)
    wait_until(lambda: cluster.objects(kernel_id) == [], timeout=30)


def test_its_end_ends_its_kernels(server: Server, installation: Installation) -> None:
    kernel_id = server.start_kernel(NAME)
    assert installation.cluster.objects(kernel_id)
    server.process.send_signal(signal.SIGTERM)
    server.wait(60)
    wait_until(lambda: installation.cluster.objects(kernel_id) == [], timeout=30)
