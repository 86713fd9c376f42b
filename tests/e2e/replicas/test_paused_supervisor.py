"""A supervisor that stands still, as it does on a node that swaps or whose virtual machine is moved."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from tests.support.kernel_socket import KernelSocket, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.installation import Installation
    from tests.support.servers import Server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

NAME = "python_kubernetes"


@pytest.fixture
def gateway(installation: Installation) -> Server:
    return installation.gateway().start()


def supervisor_of(kernel_id: str) -> int:
    """Return the number that this machine, which has the nodes, knows a kernel's supervisor by."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.endswith(b"launch-kernel") for word in words[:2]) and kernel_id.encode() in words:
            return int(entry.name)
    if os.environ.get("REQUIRE_E2E") == "1":
        pytest.fail("REQUIRE_E2E=1, and the kernel's supervisor isn't a process of this machine")
    pytest.skip("the kernel's supervisor isn't a process of this machine")


@contextmanager
def paused(kernel_id: str) -> Iterator[None]:
    number = supervisor_of(kernel_id)
    os.kill(number, signal.SIGSTOP)
    try:
        yield
    finally:
        # It may have been ended meanwhile.
        if Path(f"/proc/{number}").exists():
            os.kill(number, signal.SIGCONT)


def test_a_cell_goes_on_where_it_was_and_other_kernels_notice_nothing(gateway: Server) -> None:
    kernel_id, other = gateway.start_kernel(NAME), gateway.start_kernel(NAME)
    with KernelSocket(gateway, kernel_id) as client, KernelSocket(gateway, other) as elsewhere:
        sent = client.execute("import time\nfor number in range(600):\n    print(number, flush=True)\n    time.sleep(0.02)")
        heard = list(client.until(lambda message: message.type == "stream" and message.content["text"].strip().endswith("50")))
        with paused(kernel_id):
            end = time.monotonic() + 10
            while time.monotonic() < end:
                assert text_of(elsewhere.run("print('here')", timeout=5)) == "here\n"
        heard += client.collect(sent, timeout=60)
        assert text_of([message for message in heard if message.parent == sent.id]).split() == list(map(str, range(600)))
        assert text_of(client.run("print('on')")) == "on\n"


def test_a_restart_gives_the_kernel_another_pod(gateway: Server) -> None:
    kernel_id = gateway.start_kernel(NAME)
    with KernelSocket(gateway, kernel_id) as client, paused(kernel_id):
        answer = gateway.request("POST", f"/api/kernels/{kernel_id}/restart", json={}, timeout=120)
        assert (answer.status_code, answer.json()["id"]) == (200, kernel_id), answer.text
        assert text_of(client.run("print('new')")) == "new\n"


def test_a_kernel_is_shut_down_in_the_middle_of_a_restart_that_hangs(gateway: Server) -> None:
    kernel_id = gateway.start_kernel(NAME)
    with paused(kernel_id):
        restart = Thread(target=gateway.request, args=("POST", f"/api/kernels/{kernel_id}/restart"), kwargs={"timeout": 120})
        restart.start()
        while gateway.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"] != "restarting":
            time.sleep(0.05)
        begun = time.monotonic()
        assert gateway.request("DELETE", f"/api/kernels/{kernel_id}", timeout=60).status_code == 204
        assert time.monotonic() - begun < 40
        restart.join(10)
        assert not restart.is_alive()
    assert gateway.request("GET", f"/api/kernels/{kernel_id}").status_code == 404
