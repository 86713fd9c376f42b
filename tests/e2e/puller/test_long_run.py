"""What time does to a puller: a thousand rounds, a gateway that is away for long, a clock that jumps."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
import requests
from puller_support import Fault, KernelspecsServer, push_image, wait_until
from tests.support.jumping_clock import JumpingClock, faketime_library

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from puller_support import Containerd, FaultyRegistry, PullerProcess, Registry

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(900)]

FETCHES = "kip_kernelspec_fetches_total"
DAY = 86400


def _next_round(puller: PullerProcess, gateway: KernelspecsServer) -> None:
    """Begin a round, and return when it has asked the gateway."""
    before = len(gateway.statuses)
    puller.signal(signal.SIGHUP)
    deadline = time.monotonic() + 30
    while len(gateway.statuses) == before:
        assert time.monotonic() < deadline, puller.text()[-2000:]
        time.sleep(0.002)


def test_a_thousand_rounds_leave_no_thread_no_file_and_no_memory_behind(
    containerd: Containerd,
    faulty: FaultyRegistry,
    registry: Registry,
    gateway: KernelspecsServer,
    start_puller: Callable[..., PullerProcess],
) -> None:
    for number in range(20):
        push_image(registry.address, f"rounds/{number}", "1")
    host = f"127.0.0.1:{faulty.port}/rounds"
    wanted: dict[str, str | dict[str, object]] = {f"spec{number}": f"{host}/{number}:1" for number in range(19)}
    # In every round: tags that are checked, a failure, a kernelspec that can't be read.
    wanted |= {
        "always": {"image_name": f"{host}/0:1", "image_pull_policy": "Always"},
        "missing": f"{host}/missing:1",
        "broken": {"image_name": 7},
    }
    gateway.set_images(wanted)
    puller = start_puller(
        KIP_CRI_ENDPOINT=containerd.endpoint,
        KIP_GATEWAY_HOST=gateway.url,
        KIP_AUTH_TOKEN="t0k3n",
        KIP_INTERVAL="3600",
        KIP_RETRY_WAIT="0.01",
        KIP_RETRY_MAX_WAIT="0.01",
        KIP_LOG_LEVEL="ERROR",
    )
    wait_until(puller.ready, seconds=60, what="the first round")
    for _ in range(150):
        _next_round(puller, gateway)
    before, faulty_before = puller.resources(), faulty.count("/missing/")
    for number in range(1000):
        if number % 50 == 0:
            # Another answer than 304, an image that goes and one that comes.
            gateway.set_images({**wanted, "last": f"{host}/{19 if number % 100 else 18}:1"})
        _next_round(puller, gateway)
        if number % 100 == 0:
            assert requests.get(f"http://127.0.0.1:{puller.port}/metrics", timeout=10).status_code == requests.codes.ok
    assert faulty.count("/missing/") - faulty_before > 100, "failures were part of it"
    wait_until(lambda: puller.metrics()['kip_images{state="present"}'] == 20, seconds=20, what="all are present")
    puller.assert_nothing_is_left_over(before)
    after = puller.resources()
    assert after[2] <= before[2] + 1.0, f"memory is flat, not {before[2]:.1f} and then {after[2]:.1f} MiB"
    assert puller.stop() < 1.0


def test_a_gateway_that_is_away_at_start_and_for_long_changes_nothing_that_is_known(
    containerd: Containerd,
    registry: Registry,
    faulty: FaultyRegistry,
    gateway: KernelspecsServer,
    start_puller: Callable[..., PullerProcess],
) -> None:
    seconds = float(os.environ.get("KIP_E2E_AWAY_SECONDS", "10"))
    push_image(registry.address, "long/gateway", "1")
    image = f"127.0.0.1:{faulty.port}/long/gateway:1"
    port = gateway.port
    gateway.close()
    puller = start_puller(
        KIP_CRI_ENDPOINT=containerd.endpoint,
        KIP_GATEWAY_HOST=f"http://127.0.0.1:{port}",
        KIP_AUTH_TOKEN="t0k3n",
        KIP_INTERVAL="5",
    )
    wait_until(lambda: puller.status().get("sources", [{}])[0].get("error"), seconds=10, what="the source fails")
    time.sleep(seconds)
    failures = puller.metrics()[FETCHES + '{outcome="failure"}']
    # Hasty at first (1, 2, 4 s), then once an interval, at most a tenth shorter.
    assert 2 <= failures <= 5 + seconds / 4.5
    assert not puller.ready()
    assert _lives(puller)
    back = KernelspecsServer(token="t0k3n", port=port)
    back.set_images({"py": image, "broken": {"image_name": 7}})
    puller.wait_for(image, "present", seconds=20)
    wait_until(puller.ready, seconds=10, what="ready")
    assert "broken" in puller.status()["sources"][0]["problems"][0]
    before = puller.resources()
    back.close()
    containerd.remove(image)
    wait_until(lambda: image in containerd.images(), seconds=20, what="without the gateway it comes back")
    failures = puller.metrics()[FETCHES + '{outcome="failure"}']
    faulty.forget()
    time.sleep(seconds)
    assert puller.metrics()[FETCHES + '{outcome="failure"}'] - failures <= 2 + seconds / 4.5
    assert puller.status()["sources"][0]["error"]
    assert faulty.requests == []
    assert puller.ready()
    assert _lives(puller)
    again = KernelspecsServer(token="t0k3n", port=port)
    again.set_images({"py": image})
    wait_until(lambda: not puller.status()["sources"][0]["error"], seconds=10, what="the gateway answers again")
    assert puller.state(image) == "present"
    puller.assert_nothing_is_left_over(before)
    assert "t0k3n" not in puller.text()
    again.close()
    puller.stop()


def _lives(puller: PullerProcess) -> bool:
    return requests.get(f"http://127.0.0.1:{puller.port}/livez", timeout=5).status_code == requests.codes.ok


@pytest.fixture
def jumping_clock(need: Callable[[object, str], object], tmp_path: Path) -> tuple[dict[str, str], Callable[[int], None]]:
    """Returns the environment of a process whose wall clock can be set, and what sets it."""
    library = str(
        need(faketime_library(), "libfaketime is not installed (Debian: faketime; or LIBFAKETIME=/path/to/libfaketime.so.1)")
    )
    clock = JumpingClock(library, tmp_path / "clock")
    return clock.environment, clock.set


def test_a_clock_that_jumps_neither_hurries_nor_stops_anything(
    containerd: Containerd,
    faulty: FaultyRegistry,
    registry: Registry,
    gateway: KernelspecsServer,
    start_puller: Callable[..., PullerProcess],
    jumping_clock: tuple[dict[str, str], Callable[[int], None]],
) -> None:
    environment, set_clock = jumping_clock
    push_image(registry.address, "clock/quick", "1")
    pushed = push_image(registry.address, "clock/slow", "1", size=600_000)
    host = f"127.0.0.1:{faulty.port}/clock"
    quick, slow, missing = f"{host}/quick:1", f"{host}/slow:1", f"{registry.address}/clock/missing:1"
    gateway.set_images({"quick": quick, "slow": slow, "missing": missing})

    def slowly(_method: str, path: str) -> Fault | None:
        return Fault(bytes_per_second=40_000) if "/slow/blobs/" in path else None

    faulty.fault = slowly
    puller = start_puller(
        KIP_CRI_ENDPOINT=containerd.endpoint,
        KIP_GATEWAY_HOST=gateway.url,
        KIP_AUTH_TOKEN="t0k3n",
        KIP_INTERVAL="1",
        KIP_PULL_TIMEOUT="120",
        KIP_RETRY_WAIT="3600",
        KIP_RETRY_MAX_WAIT="3600",
        **environment,
    )
    puller.wait_for(quick, "present")
    puller.wait_for(missing, "failed")
    wait_until(lambda: faulty.count("/slow/blobs/") > 0, seconds=20, what="the slow pull has begun")
    before = puller.resources()
    for offset in (2 * DAY, -3 * DAY):
        set_clock(offset)
        shown = time.strftime("%Y-%m-%d", time.gmtime(time.time() + offset))
        wait_until(lambda day=shown: (puller.status()["last_sync"] or "").startswith(day), seconds=10, what="the jump is seen")
        rounds, tries = len(gateway.statuses), puller.metrics()['kip_image_pulls_total{outcome="permanent"}']
        time.sleep(4)
        assert 2 <= len(gateway.statuses) - rounds <= 6, "rounds keep their time"
        assert puller.metrics()['kip_image_pulls_total{outcome="permanent"}'] == tries == 1, "waits keep theirs"
        assert _lives(puller)
        containerd.remove(quick)
        wait_until(lambda: quick in containerd.images(), seconds=10, what="work goes on")
    assert puller.state(slow) == "pulling", "the pull was neither given up nor begun again"
    faulty.fault = lambda _method, _path: None
    puller.wait_for(slow, "present", seconds=60)
    assert puller.images()[slow]["tries"] <= 1
    assert faulty.count(pushed.layer_digest) == 1
    assert puller.metrics()['kip_image_pulls_total{outcome="success"}'] == 4, (
        "the slow one, and the quick one again after each removal"
    )
    puller.assert_nothing_is_left_over(before)
    assert puller.stop() < 1.0


def test_a_time_limit_is_kept_although_the_clock_is_set_back(
    containerd: Containerd,
    faulty: FaultyRegistry,
    registry: Registry,
    start_puller: Callable[..., PullerProcess],
    jumping_clock: tuple[dict[str, str], Callable[[int], None]],
) -> None:
    environment, set_clock = jumping_clock
    push_image(registry.address, "clock/stuck", "1", size=400_000)
    image = f"127.0.0.1:{faulty.port}/clock/stuck:1"
    faulty.fault = lambda _method, path: Fault(bytes_per_second=1000) if "/blobs/" in path else None
    puller = start_puller(
        KIP_CRI_ENDPOINT=containerd.endpoint, KIP_IMAGES=image, KIP_PULL_TIMEOUT="6", KIP_NUM_RETRIES="1", **environment
    )
    wait_until(lambda: faulty.count("/blobs/") > 0, seconds=20, what="the pull has begun")
    set_clock(-DAY)
    failed = puller.wait_for(image, "failed", seconds=20)
    assert "not pulled within 6 s" in failed["last_error"]
    puller.stop()
