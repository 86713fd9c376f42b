"""The gateway while its API server fails, one gateway and one running kernel for all tests."""

from __future__ import annotations

import os
import statistics
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.support.api_proxy import Fault
from tests.support.installation import NAME
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.support.servers import Server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

_AWAY_SECONDS = float(os.environ.get("EG_E2E_AWAY_SECONDS", "15"))
_LONGEST_PAUSE = 21.0
_ROUNDS = 30


@pytest.fixture(scope="module")
def server(installation, kubeconfig) -> Server:
    return installation.gateway(kubeconfig=kubeconfig).start()


@pytest.fixture(scope="module")
def kernel(server) -> str:
    """A kernel that runs through all faults of this module."""
    return server.start_kernel(NAME)


@pytest.fixture(autouse=True)
def still_the_same(kernel, server, proxy):
    """Check after every test that the kernel has lost nothing and that the gateway sees the cluster again."""
    mark = uuid.uuid4().hex
    run(server, kernel, f"mark = {mark!r}")
    proxy.count_anew()
    yield
    proxy.heal()
    assert run(server, kernel, "print(mark)") == mark
    wait_until(lambda: server.request("GET", "/readyz").ok, timeout=30)


def run(server, kernel_id, code):
    with KernelSocket(server, kernel_id) as client:
        return text_of(client.run(code)).strip()


def works(server, cluster, **env):
    """Start, use and end a kernel; nothing of it is left."""
    kernel_id = server.start_kernel(NAME, env=env)
    assert run(server, kernel_id, "print(6 * 7)") == "42"
    server.stop_kernel(kernel_id)
    wait_until(lambda: cluster.objects(kernel_id) == [], timeout=30)


@contextmanager
def noticed_within(server, cluster, kernel_id, seconds):
    """Have a pod deleted behind the gateway's back and expect it to notice and to start the kernel again."""

    def state():
        return server.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"]

    uid = cluster.pod(kernel_id)["metadata"]["uid"]
    cluster.kubectl("delete", "pods", "-A", "-l", f"kernel_id={kernel_id}", "--wait=false", "--grace-period=0", "--force")
    yield
    wait_until(lambda: state() == "restarting", timeout=seconds)
    wait_until(lambda: state() == "idle", timeout=60)
    assert cluster.pod(kernel_id)["metadata"]["uid"] != uid


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429, retry_after=1),
        Fault(status=500),
        Fault(status=503),
        Fault(status=504),
        Fault(),
        Fault(status=503, after=True),
        Fault(after=True),
    ],
    ids=["429", "500", "503", "504", "reset", "503 after the call took effect", "reset after the call took effect"],
)
def test_a_start_succeeds_though_every_second_call_fails_and_makes_nothing_twice(server, cluster, proxy, fault):
    proxy.fault = lambda call: fault if call.number % 2 else None
    works(server, cluster)
    assert len(proxy.calls) > 4


def test_an_answer_that_asks_to_come_again_later_is_obeyed(server, cluster, proxy):
    refused, came_again = [], []

    def once(call):
        if call.method != "POST":
            return None
        if refused:
            came_again.append(time.monotonic())
            return None
        refused.append(time.monotonic())
        return Fault(status=429, retry_after=2)

    proxy.fault = once
    works(server, cluster)
    assert came_again[0] - refused[0] >= 2


def test_a_watch_that_ends_is_resumed_without_a_list_and_nothing_is_missed(server, cluster, proxy):
    kernel_id = server.start_kernel(NAME)
    proxy.count_anew()
    for _ in range(3):
        proxy.end_watches()
        wait_until(lambda: len(proxy.watches()) >= 2)
    with noticed_within(server, cluster, kernel_id, 5):
        proxy.end_watches()
    assert proxy.lists() == 0
    server.stop_kernel(kernel_id)


def test_bookmarks_alone_keep_a_watch_young(server, cluster, proxy):
    version = cluster.kubectl("get", "--raw", "/api/v1/pods?limit=1").split('"resourceVersion":"')[1].split('"')[0]
    proxy.end_watches({"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": version}}})
    wait_until(lambda: len(proxy.watches()) >= 2)
    assert {call.query["resourceVersion"] for call in proxy.watches()} == {version}
    assert proxy.lists() == 0
    works(server, cluster)


def test_a_watch_that_is_too_old_is_begun_anew_and_shows_what_was_missed(server, cluster, proxy):
    kernel_id = server.start_kernel(NAME)
    proxy.count_anew()
    proxy.fault = lambda call: Fault(status=410) if call.is_watch else None
    proxy.end_watches()
    wait_until(lambda: proxy.lists() >= 1)
    with noticed_within(server, cluster, kernel_id, 5):
        proxy.heal()
        proxy.expire_watches()
    server.stop_kernel(kernel_id)


def test_a_server_that_ends_every_watch_at_once_is_not_asked_in_a_hot_loop(proxy):
    proxy.fault = lambda call: Fault(status=200) if call.is_watch else None
    proxy.end_watches()
    wait_until(lambda: len(proxy.watches()) >= 4)
    proxy.count_anew()
    time.sleep(3)  # what is measured is that little happens in it
    assert len(proxy.watches()) <= 10


def test_a_token_that_was_replaced_is_read_anew_and_no_call_fails(server, cluster, proxy, token_file):
    for number in range(2):
        token = f"token-{number}"
        token_file.write_text(token)
        proxy.tokens = {token}
        proxy.end_watches()
        works(server, cluster)
        assert server.request("GET", "/readyz").ok


def latencies(client):
    """Return how long some executions took, in seconds."""
    took = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        client.run("pass")
        took.append(time.perf_counter() - began)
    return took


def test_a_server_that_hangs_touches_no_running_kernel_and_a_start_says_so_in_time(server, cluster, kernel, proxy):
    with KernelSocket(server, kernel) as client:
        before = latencies(client)
        proxy.set_hanging(on=True)
        during = latencies(client)
    assert statistics.median(during) < max(3 * statistics.median(before), 0.1)
    began = time.monotonic()
    assert kernel in server.kernel_ids()
    assert server.request("GET", f"/api/kernels/{kernel}").json()["execution_state"] == "idle"
    assert time.monotonic() - began < 2
    kernel_id = str(uuid.uuid4())
    began = time.monotonic()
    answer = server.request(
        "POST", "/api/kernels", json={"name": NAME, "env": {"KERNEL_ID": kernel_id, "KERNEL_LAUNCH_TIMEOUT": "5"}}
    )
    assert time.monotonic() - began < 12
    assert answer.status_code in {500, 503}
    assert "API server didn't answer" in answer.json()["message"]
    proxy.heal()
    wait_until(lambda: cluster.objects(kernel_id) == [], timeout=30)
    works(server, cluster)


@pytest.mark.parametrize("step", range(1, 5))
def test_a_server_that_falls_silent_in_the_middle_of_a_start_has_nothing_left_of_it_when_it_is_back(server, cluster, proxy, step):
    """The call takes effect and is never answered, as is none after it: what was made can't be taken away yet."""

    def fault(call):
        if call.is_watch or call.number < step:
            return None
        return Fault(after=call.number == step, hang=True)

    kernel_id = str(uuid.uuid4())
    with ThreadPoolExecutor(1) as pool:
        proxy.count_anew()
        proxy.fault = fault
        body = {"name": NAME, "env": {"KERNEL_ID": kernel_id, "KERNEL_LAUNCH_TIMEOUT": "3"}}
        began = time.monotonic()
        start = pool.submit(server.request, "POST", "/api/kernels", json=body)
        answer = start.result()
    assert time.monotonic() - began < 12
    assert answer.status_code in {500, 503}, answer.text
    assert "API server didn't answer" in answer.json()["message"]
    proxy.heal()
    proxy.reset_connections()
    wait_until(lambda: cluster.objects(kernel_id) == [], timeout=60)
    assert kernel_id not in server.kernel_ids()


@pytest.mark.timeout(240 + _AWAY_SECONDS)
def test_a_server_that_is_away_for_long_is_found_again_by_itself(server, cluster, kernel, proxy):
    """EG_E2E_AWAY_SECONDS says for how long; the pauses between tries have long reached their longest after five minutes."""
    doomed = server.start_kernel(NAME)
    proxy.fault = lambda _call: Fault()
    proxy.reset_connections()
    end = time.monotonic() + _AWAY_SECONDS
    with KernelSocket(server, kernel) as client:
        while time.monotonic() < end:
            client.run("pass")
            assert {kernel, doomed} <= server.kernel_ids()
            time.sleep(0.2)
    assert server.request("GET", "/livez").ok
    calls = len(proxy.calls)
    with noticed_within(server, cluster, doomed, _LONGEST_PAUSE + 5):
        proxy.heal()
    assert calls < 60 + 3 * _AWAY_SECONDS
    server.stop_kernel(doomed)
    works(server, cluster)


def test_a_kernel_that_is_deleted_while_the_server_hangs_goes_when_it_is_back(server, cluster, proxy):
    kernel_id = server.start_kernel(NAME)
    proxy.set_hanging(on=True)
    began = time.monotonic()
    assert server.request("DELETE", f"/api/kernels/{kernel_id}").status_code in {204, 503}
    assert time.monotonic() - began < 45
    assert kernel_id not in server.kernel_ids()
    proxy.heal()
    wait_until(lambda: cluster.objects(kernel_id) == [], timeout=60)
    assert kernel_id not in server.kernel_ids()
