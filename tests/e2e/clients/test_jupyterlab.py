"""A notebook in JupyterLab, its kernel in a pod, and between them a gateway outside of the cluster or in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.cells import WAITS_FOR_AN_INTERRUPT
from tests.support.installation import NAME
from tests.support.jupyterlab import jupyter_server_before, walk
from tests.support.kernel_socket import KernelSocket, text_of

if TYPE_CHECKING:
    from tests.support.release import InstalledGateway
    from tests.support.servers import Server, Workspace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


def test_its_library_walks_through_the_life_of_a_kernel_in_a_pod(gateway: Server | InstalledGateway) -> None:
    seen = walk(gateway, NAME)

    assert NAME in seen["specs"]
    assert (seen["cell"]["text"], seen["input"], seen["interrupted"]) == ("Ω\n", "Ada\n", "KeyboardInterrupt")
    assert seen["echoed"] == [[255, 254, 1, 0]]
    assert (seen["afterRestart"], seen["unanswered"]) == ("False\n", [])
    assert "autorestarting" not in seen["restartStatuses"]
    assert (seen["died"], seen["afterDeath"]) == ("autorestarting", "1\n")
    assert (seen["dropped"], seen["afterDrop"]) == ("reconnected", "2\n")
    assert seen["id"] not in seen["running"]


def test_its_server_has_the_kernels_of_the_cluster(gateway: Server | InstalledGateway, workspace: Workspace) -> None:
    lab = jupyter_server_before(gateway, workspace).start()
    try:
        assert NAME in lab.request("GET", "/api/kernelspecs").json()["kernelspecs"]
        kernel_id = lab.start_kernel(NAME)
        with KernelSocket(lab, kernel_id) as client:
            printed = text_of(client.run("import os, socket; print(os.environ['KERNEL_USERNAME'], socket.gethostname())"))
            user, pod = printed.split()
            assert user == "ada"
            assert pod.startswith("ada-")
            sent = client.execute(WAITS_FOR_AN_INTERRUPT)
            client.wait_for(lambda message: message.type == "stream")
            assert lab.request("POST", f"/api/kernels/{kernel_id}/interrupt").status_code == 204
            assert "KeyboardInterrupt" in [message.content.get("ename") for message in client.collect(sent, timeout=20)]
            assert lab.request("POST", f"/api/kernels/{kernel_id}/restart").status_code == 200
            assert text_of(client.run("print('socket' in globals())")) == "False\n"
        assert lab.request("DELETE", f"/api/kernels/{kernel_id}").status_code == 204
        assert kernel_id not in lab.kernel_ids()
    finally:
        lab.kill()  # a Jupyter Server that has a gateway may wait for it for long
