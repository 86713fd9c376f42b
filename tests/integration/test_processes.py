"""What runs and what is open: nothing outlives its kernel or its gateway, and nothing grows with use."""

from __future__ import annotations

import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.support.kernel_socket import PROTOCOLS, KernelSocket, text_of
from tests.support.servers import ServerFailed
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.servers import Server

pytestmark = pytest.mark.usefixtures("_ours")


def _gone(processes: list[psutil.Process], timeout: float) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=timeout)
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def _start_many(server: Server, count: int) -> list[str]:
    with ThreadPoolExecutor(count) as executor:
        return list(executor.map(lambda _: server.start_kernel(), range(count)))


def test_sigterm_ends_every_kernel_and_then_the_gateway_with_0(own_server: Callable[..., Server]) -> None:
    server = own_server(settings={"SHUTDOWN_WAIT_TIME": "1"})
    kernels = _start_many(server, 3)
    with KernelSocket(server, kernels[0]) as client:
        # A cell that ignores Ctrl-C ends too.
        client.execute(
            "import signal, time, subprocess; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
            "subprocess.Popen(['sleep', '600']); print('on', flush=True)\nwhile True: time.sleep(1)"
        )
        client.wait_for(lambda message: message.type == "stream")
        processes = server.descendants()
        assert len(processes) >= 4
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 10
        # Told to come back: this is how a Jupyter Server knows to reconnect.
        assert client.wait_closed() in {1001, 1012}
    assert _gone(processes, timeout=2)
    assert "Traceback" not in server.log


def test_a_kernel_that_is_still_starting_ends_with_the_gateway(own_server: Callable[..., Server]) -> None:
    server = own_server()
    with ThreadPoolExecutor(1) as executor:
        start = executor.submit(server.request, "POST", "/api/kernels", json={"name": "mute"})
        while not (processes := server.descendants()):
            time.sleep(0.02)
        assert server.stop() == 0
        # The client is answered or the connection is closed; it doesn't hang.
        assert start.exception(10) is not None or start.result().status_code >= 500
    assert _gone(processes, timeout=2)


def test_ctrl_c_stops_as_sigterm_does(own_server: Callable[..., Server]) -> None:
    server = own_server()
    server.start_kernel()
    processes = server.descendants()
    server.process.send_signal(signal.SIGINT)
    assert server.wait(10) == 0
    assert _gone(processes, timeout=2)


def test_kernels_end_when_their_gateway_is_killed(own_server: Callable[..., Server]) -> None:
    server = own_server()
    _start_many(server, 2)
    processes = server.descendants()
    server.kill()
    assert _gone(processes, timeout=10)


def test_shutting_a_kernel_down_ends_the_processes_that_it_started(server: Server) -> None:
    before = {process.pid for process in server.descendants()}
    kernel_id = server.start_kernel()
    with KernelSocket(server, kernel_id) as client:
        client.run("import subprocess; subprocess.Popen(['sleep', '600'])")
        started = [process for process in server.descendants() if process.pid not in before]
        assert any("sleep" in process.name() for process in started)
        server.stop_kernel(kernel_id)
    assert _gone(started, timeout=5)


def test_a_port_that_is_taken_stops_the_start_with_one_line(own_server: Callable[..., Server], server: Server) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ServerFailed) as caught:
            own_server(port=taken.getsockname()[1])
    assert "Traceback" not in str(caught.value)
    assert server.running


def test_a_setting_that_cannot_be_parsed_stops_the_start_and_is_named(own_server: Callable[..., Server]) -> None:
    with pytest.raises(ServerFailed) as caught:
        own_server(settings={"MAX_KERNELS": "many"})
    assert "EG_MAX_KERNELS" in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_reconnecting_costs_neither_memory_nor_descriptors(own_server: Callable[..., Server]) -> None:
    server = own_server()

    def life_of_a_kernel(visits: int) -> None:
        kernel_id = server.start_kernel()
        for number in range(visits):
            with KernelSocket(server, kernel_id, protocol=PROTOCOLS[number % 2]) as client:
                assert text_of(client.run("print('x' * 1000)")) == "x" * 1000 + "\n"
        # What the kernel's link and its log take ends with the kernel.
        server.stop_kernel(kernel_id)

    life_of_a_kernel(20)  # caches and pools are filled
    descriptors, memory = server.process.num_fds(), server.rss()
    life_of_a_kernel(80)
    # One or two are a connection that the peer hasn't seen closed; a leak of one for each websocket would be eighty.
    wait_until(lambda: server.process.num_fds() - descriptors <= 4)
    assert server.rss() - memory < 4 << 20


def test_starting_and_ending_kernels_costs_no_descriptors(server: Server) -> None:
    for kernel_id in _start_many(server, 2):
        server.stop_kernel(kernel_id)
    descriptors, threads = server.process.num_fds(), server.process.num_threads()
    for _ in range(2):
        for kernel_id in _start_many(server, 2):
            server.stop_kernel(kernel_id)
    assert server.process.num_fds() - descriptors <= 4
    assert server.process.num_threads() <= threads + 1
