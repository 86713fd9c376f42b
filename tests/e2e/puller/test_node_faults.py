"""What the node can do to a pull: a runtime that dies, a full disk, images that somebody removes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from puller_support import Fault, push_image, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from puller_support import Containerd, FaultyRegistry, KernelspecsServer, PullerProcess, Registry

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]


def test_a_runtime_that_is_killed_in_the_middle_of_a_pull_is_found_again(
    containerd: Containerd, faulty: FaultyRegistry, registry: Registry, start_puller: Callable[..., PullerProcess]
) -> None:
    push_image(registry.address, "node/killed", "1", size=400_000)
    image = f"127.0.0.1:{faulty.port}/node/killed:1"
    faulty.fault = lambda _method, path: Fault(bytes_per_second=20_000) if "/blobs/" in path else None
    puller = start_puller(KIP_CRI_ENDPOINT=containerd.endpoint, KIP_IMAGES=image, KIP_INTERVAL="300", KIP_NUM_RETRIES="2")
    wait_until(lambda: faulty.count("/blobs/") > 0, seconds=20, what="the pull has begun")
    before = puller.resources()
    containerd.kill()
    wait_until(lambda: puller.images()[image]["reason"] == "runtime_away", seconds=10, what=f"away: {puller.text()}")
    time.sleep(3)
    assert puller.state(image) == "retrying", "no try is counted while the runtime is away"
    faulty.fault = lambda _method, _path: None
    containerd.start()
    puller.wait_for(image, "present", seconds=30)
    assert image in containerd.images()
    puller.assert_nothing_is_left_over(before)
    puller.stop()


def test_a_full_disk_stops_pulling_and_is_told(
    small_containerd: Containerd, registry: Registry, start_puller: Callable[..., PullerProcess]
) -> None:
    push_image(registry.address, "node/large", "1", size=30_000_000)
    push_image(registry.address, "node/small", "1")
    large, small = f"{registry.address}/node/large:1", f"{registry.address}/node/small:1"
    puller = start_puller(
        KIP_CRI_ENDPOINT=small_containerd.endpoint, KIP_IMAGES=f"{large}", KIP_INTERVAL="2", KIP_MIN_FREE_PERCENT="0"
    )
    held = puller.wait_for(large, "held", seconds=40)
    assert "no space left" in held["last_error"]
    before, tries = puller.resources(), puller.metrics()['kip_image_pulls_total{outcome="disk_full"}']
    time.sleep(6)
    puller.assert_nothing_is_left_over(before)
    assert puller.metrics()['kip_image_pulls_total{outcome="disk_full"}'] == tries == 1
    puller.stop()
    guarded = start_puller(
        KIP_CRI_ENDPOINT=small_containerd.endpoint, KIP_IMAGES=small, KIP_INTERVAL="2", KIP_MIN_FREE_PERCENT="99.9"
    )
    held = guarded.wait_for(small, "held")
    assert "room left" in held["last_error"]
    guarded.stop()


def test_an_image_that_is_removed_by_hand_comes_back_only_so_often(
    containerd: Containerd, faulty: FaultyRegistry, registry: Registry, start_puller: Callable[..., PullerProcess]
) -> None:
    push_image(registry.address, "node/removed", "1")
    image = f"127.0.0.1:{faulty.port}/node/removed:1"
    puller = start_puller(KIP_CRI_ENDPOINT=containerd.endpoint, KIP_IMAGES=image, KIP_INTERVAL="1", KIP_MAX_PULLS_PER_HOUR="2")
    puller.wait_for(image, "present")
    before = puller.resources()
    containerd.remove(image)
    wait_until(lambda: image in containerd.images(), seconds=10, what="it is back")
    puller.wait_for(image, "present")
    containerd.remove(image)
    puller.wait_for(image, "held", seconds=10)
    assert image not in containerd.images()
    assert puller.metrics()['kip_image_pulls_total{outcome="success"}'] == 2
    faulty.forget()
    time.sleep(3)
    assert faulty.requests == []
    puller.assert_nothing_is_left_over(before)
    puller.stop()


def test_one_image_under_three_names_is_pulled_once(
    containerd: Containerd, faulty: FaultyRegistry, registry: Registry, start_puller: Callable[..., PullerProcess]
) -> None:
    pushed = push_image(registry.address, "node/names", "latest")
    host = f"127.0.0.1:{faulty.port}"
    names = f"{host}/node/names,{host}/node/names:latest,{host}/node/names@{pushed.digest}"
    puller = start_puller(KIP_CRI_ENDPOINT=containerd.endpoint, KIP_IMAGES=names, KIP_INTERVAL="1")
    puller.wait_for(f"{host}/node/names:latest", "present")
    before = puller.resources()
    puller.wait_for(f"{host}/node/names@{pushed.digest}", "present")
    assert len(puller.images()) == 2
    assert faulty.count(pushed.layer_digest) == 1
    faulty.forget()
    time.sleep(3)
    assert faulty.requests == []
    puller.assert_nothing_is_left_over(before)
    puller.stop()


def test_two_hundred_kernelspecs_of_fifty_images_are_fifty_pulls_and_then_silence(
    containerd: Containerd,
    faulty: FaultyRegistry,
    registry: Registry,
    gateway: KernelspecsServer,
    start_puller: Callable[..., PullerProcess],
) -> None:
    for number in range(50):
        push_image(registry.address, f"node/many{number}", "1")
    host = f"127.0.0.1:{faulty.port}"
    gateway.set_images({f"spec{number}": f"{host}/node/many{number % 50}:1" for number in range(200)})
    puller = start_puller(
        KIP_CRI_ENDPOINT=containerd.endpoint, KIP_GATEWAY_HOST=gateway.url, KIP_AUTH_TOKEN="t0k3n", KIP_INTERVAL="1"
    )
    wait_until(lambda: puller.metrics().get('kip_images{state="present"}') == 50, seconds=60, what="all are present")
    assert puller.metrics()['kip_image_pulls_total{outcome="success"}'] == 50
    assert len(puller.images()[f"{host}/node/many0:1"]["wanted_by"]) == 4
    before = puller.resources()
    faulty.forget()
    rounds = len(gateway.statuses)
    wait_until(lambda: len(gateway.statuses) >= rounds + 8, seconds=20, what="eight more rounds")
    assert set(gateway.statuses[rounds:]) == {304}
    assert faulty.requests == []
    puller.assert_nothing_is_left_over(before)
    puller.stop()


def test_an_image_that_is_not_wanted_any_more_is_not_pulled_to_its_end(
    containerd: Containerd,
    faulty: FaultyRegistry,
    registry: Registry,
    gateway: KernelspecsServer,
    start_puller: Callable[..., PullerProcess],
) -> None:
    push_image(registry.address, "node/dropped", "1", size=400_000)
    image = f"127.0.0.1:{faulty.port}/node/dropped:1"
    faulty.fault = lambda _method, path: Fault(bytes_per_second=10_000) if "/blobs/" in path else None
    gateway.set_images({"py": image})
    puller = start_puller(
        KIP_CRI_ENDPOINT=containerd.endpoint, KIP_GATEWAY_HOST=gateway.url, KIP_AUTH_TOKEN="t0k3n", KIP_INTERVAL="1"
    )
    puller.wait_for(image, "pulling")
    gateway.set_images({})
    wait_until(lambda: "Cancelled a pull" in puller.text(), seconds=10, what=f"cancelled: {puller.text()}")
    assert puller.images() == {}
    assert image not in containerd.images()
    puller.stop()


def test_sigterm_in_the_middle_of_a_pull_ends_both_within_a_second(
    containerd: Containerd, faulty: FaultyRegistry, registry: Registry, start_puller: Callable[..., PullerProcess]
) -> None:
    push_image(registry.address, "node/sigterm", "1", size=400_000)
    image = f"127.0.0.1:{faulty.port}/node/sigterm:1"
    faulty.fault = lambda _method, path: Fault(bytes_per_second=10_000) if "/blobs/" in path else None
    puller = start_puller(KIP_CRI_ENDPOINT=containerd.endpoint, KIP_IMAGES=image)
    wait_until(lambda: faulty.count("/blobs/") > 0, seconds=20, what="the pull has begun")
    assert puller.stop() < 1.0
    faulty.forget()
    time.sleep(3)
    assert faulty.requests == [], "the runtime has given the pull up too"
    assert image not in containerd.images()


def test_what_it_brought_and_nobody_wants_is_removed_only_when_asked_for(
    containerd: Containerd, registry: Registry, gateway: KernelspecsServer, start_puller: Callable[..., PullerProcess]
) -> None:
    for name in ("ours", "theirs"):
        push_image(registry.address, f"node/{name}", "1")
    ours, theirs = (f"{registry.address}/node/{name}:1" for name in ("ours", "theirs"))
    start_puller("--once", KIP_CRI_ENDPOINT=containerd.endpoint, KIP_IMAGES=theirs).process.wait(30)
    gateway.set_images({"a": ours, "b": theirs})
    puller = start_puller(
        KIP_CRI_ENDPOINT=containerd.endpoint,
        KIP_GATEWAY_HOST=gateway.url,
        KIP_AUTH_TOKEN="t0k3n",
        KIP_INTERVAL="1",
        KIP_REMOVE_AFTER_HOURS="0.0005",
    )
    puller.wait_for(ours, "present")
    gateway.set_images({})
    wait_until(lambda: ours not in containerd.images(), seconds=15, what="it is removed")
    time.sleep(3)
    assert theirs in containerd.images(), "it was there before this puller"
    puller.stop()
