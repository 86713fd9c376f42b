"""Processes of this machine that wait for a start, seen by a client of the gateway."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.servers import Product, Server
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.servers import Workspace

pytestmark = pytest.mark.timeout(120)

SHOWN = "import json, os, sys; print(json.dumps([os.getpid(), os.getcwd(), dict(os.environ), sys.argv[0], sys.path[:2]]))"


@pytest.fixture
def gateway(workspace: Workspace) -> Iterator[Callable[..., Server]]:
    """Return a function that starts a gateway."""
    started = []

    def start(**settings: str) -> Server:
        started.append(Server(product=Product.GATEWAY, workspace=workspace, settings=settings))
        return started[-1].start()

    yield start
    for server in started:
        if server.running:
            server.stop()


def waiting(server: Server) -> set[int]:
    """Return the processes below a gateway that were started to wait, those that are a kernel by now too."""
    return {child.pid for child in server.process.children() if any("told = json" in word for word in child.cmdline())}


def shown(server: Server, kernel_id: str) -> list:
    with KernelSocket(server, kernel_id) as client:
        return json.loads(text_of(client.run(SHOWN, 30)))


def test_a_start_becomes_the_process_that_waited_and_the_next_one_waits(gateway):
    server = gateway(WARM_POOLS="python3=1")
    wait_until(lambda: len(waiting(server)) == 1, timeout=20)
    (process,) = waiting(server)
    kernel_id = server.start_kernel("python3", env={"KERNEL_USERNAME": "alice"})
    assert shown(server, kernel_id)[0] == process
    wait_until(lambda: len(waiting(server)) == 2, timeout=20)
    server.stop_kernel(kernel_id)
    wait_until(lambda: len(waiting(server)) == 1, timeout=20)
    assert process not in waiting(server)


def test_a_kernel_that_waited_finds_what_one_finds_that_did_not(gateway):
    env = {"KERNEL_USERNAME": "alice", "KERNEL_ID": "0b5c6f2e-8f0e-4f5d-9d0c-3a1f2b4c5d6e"}
    found = []
    for pools in ("python3=0", "python3=1"):
        server = gateway(WARM_POOLS=pools)
        wait_until(lambda server=server, pools=pools: len(waiting(server)) == int(pools[-1]), timeout=20)
        kernel_id = server.start_kernel("python3", env=env)
        process, folder, environment, *python = shown(server, kernel_id)
        assert (process in waiting(server)) == (pools == "python3=1")
        del environment["JPY_PARENT_PID"]
        # A session of its own each time.
        found.append((folder, {name: value for name, value in environment.items() if not name.startswith("MPL")}, python))
        server.stop()
    assert found[0] == found[1]


def test_a_start_whose_environment_acts_before_a_program_begins_gets_a_process_of_its_own(gateway):
    server = gateway(WARM_POOLS="python3=1", CLIENT_ENVS="PYTHONHASHSEED")
    wait_until(lambda: len(waiting(server)) == 1, timeout=20)
    kernel_id = server.start_kernel("python3", env={"PYTHONHASHSEED": "1"})
    assert shown(server, kernel_id)[0] not in waiting(server)
    server.stop_kernel(kernel_id)


def test_a_process_that_ended_while_it_waited_is_nobodys_kernel(gateway):
    server = gateway(WARM_POOLS="python3=1")
    wait_until(lambda: len(waiting(server)) == 1, timeout=20)
    (process,) = waiting(server)
    os.kill(process, 9)
    kernel_id = server.start_kernel("python3")
    assert shown(server, kernel_id)[0] != process
    server.stop_kernel(kernel_id)


def test_a_gateway_that_ends_leaves_no_process_that_waits(gateway):
    server = gateway(WARM_POOLS="python3=1")
    wait_until(lambda: len(waiting(server)) == 1, timeout=20)
    children = server.process.children()
    server.stop()
    wait_until(lambda: not any(child.is_running() for child in children), timeout=10)


def test_a_claimed_kernel_that_is_restarted_is_there_again(gateway):
    server = gateway(WARM_POOLS="python3=1")
    wait_until(lambda: len(waiting(server)) == 1, timeout=20)
    kernel_id = server.start_kernel("python3", env={"KERNEL_USERNAME": "alice"})
    assert server.request("POST", f"/api/kernels/{kernel_id}/restart", json={}).status_code == 200
    assert shown(server, kernel_id)[2]["KERNEL_USERNAME"] == "alice"
    server.stop_kernel(kernel_id)


def test_the_log_says_why_a_kernelspec_can_have_no_pool(gateway):
    server = gateway(WARM_POOLS="mute=1")
    wait_until(lambda: "only IPython kernels of this machine can have one" in server.log, timeout=20)
