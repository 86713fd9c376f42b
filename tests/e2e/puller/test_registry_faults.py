"""What a registry can do to a pull, on a real containerd; every registry request is counted."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from puller_support import Fault, FaultyRegistry, free_port, push_image, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from puller_support import Containerd, PullerProcess, Registry

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(900)]

QUICK = {"KIP_INTERVAL": "3", "KIP_RETRY_WAIT": "0.5", "KIP_RETRY_MAX_WAIT": "4"}
PROXY_ENDS = "the proxy answers for the registry again"


def _is_manifest(path: str) -> bool:
    return "/manifests/" in path


@pytest.mark.parametrize(
    ("fault", "reason", "state"),
    [
        (Fault(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'}), "authentication", "failed"),
        (Fault(status=403), "authentication", "failed"),
        (Fault(status=404, body=b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"x"}]}'), "permanent", "failed"),
        (Fault(status=429, headers={"Retry-After": "2"}), "registry", "retrying"),
        (Fault(status=500), "registry", "retrying"),
    ],
    ids=["401", "403", "404", "429", "500"],
)
def test_an_answer_has_its_class_makes_no_storm_and_is_got_over(
    containerd: Containerd,
    faulty: FaultyRegistry,
    registry: Registry,
    start_puller: Callable[..., PullerProcess],
    fault: Fault,
    reason: str,
    state: str,
) -> None:
    push_image(registry.address, "faults/answer", "1")
    image = f"127.0.0.1:{faulty.port}/faults/answer:1"
    faulty.fault = lambda _method, path: fault if _is_manifest(path) else None
    puller = start_puller(KIP_CRI_ENDPOINT=containerd.endpoint, KIP_IMAGES=image, **QUICK)
    wait_until(lambda: puller.images().get(image, {}).get("reason") == reason, seconds=15, what=f"{reason}: {puller.text()}")
    before = puller.resources()
    if state == "failed":
        puller.wait_for(image, "failed")
        assert puller.ready(), "a first round with a failure is done all the same"
    # Some seconds of failures: containerd itself repeats some requests, so the tries are what is bounded.
    time.sleep(6)
    tries = sum(value for name, value in puller.metrics().items() if name.startswith("kip_image_pulls_total"))
    assert 1 <= tries <= 12
    assert faulty.count("/manifests/") <= 12 * 8
    faulty.fault = lambda _method, _path: None
    puller.wait_for(image, "present", seconds=20)
    assert image in containerd.images()
    puller.assert_nothing_is_left_over(before)
    puller.stop()


def test_a_connection_that_breaks_in_a_layer_is_tried_again(
    containerd: Containerd, faulty: FaultyRegistry, registry: Registry, start_puller: Callable[..., PullerProcess]
) -> None:
    pushed = push_image(registry.address, "faults/reset", "1", size=3_000_000)
    image = f"127.0.0.1:{faulty.port}/faults/reset:1"
    broken: list[str] = []

    def break_often(_method: str, path: str) -> Fault | None:
        if pushed.layer_digest in path and len(broken) < 4:
            broken.append(path)
            return Fault(reset_after=100_000)
        return None

    faulty.fault = break_often
    puller = start_puller(KIP_CRI_ENDPOINT=containerd.endpoint, KIP_IMAGES=image, KIP_NUM_RETRIES="10", **QUICK)
    wait_until(lambda: broken, seconds=20, what="the first connection breaks")
    before = puller.resources()
    puller.wait_for(image, "present", seconds=60)
    puller.assert_nothing_is_left_over(before)
    assert containerd.digest(image) == pushed.digest
    assert len(broken) == 4
    puller.stop()


def test_a_slow_registry_holds_up_no_other_and_its_pull_is_cancelled_in_time(
    containerd: Containerd, faulty: FaultyRegistry, registry: Registry, start_puller: Callable[..., PullerProcess]
) -> None:
    for number in range(3):
        push_image(registry.address, f"faults/slow{number}", "1", size=200_000)
    push_image(registry.address, "faults/quick", "1")
    slow = [f"127.0.0.1:{faulty.port}/faults/slow{number}:1" for number in range(3)]
    quick = f"{registry.address}/faults/quick:1"
    faulty.fault = lambda _method, path: Fault(bytes_per_second=1000) if "/blobs/" in path else None
    puller = start_puller(
        KIP_CRI_ENDPOINT=containerd.endpoint, KIP_IMAGES=",".join([*slow, quick]), KIP_PULL_TIMEOUT="4", KIP_NUM_RETRIES="1"
    )
    puller.wait_for(quick, "present", seconds=3.5)
    before = puller.resources()
    for image in slow:
        failed = puller.wait_for(image, "failed", seconds=20)
        assert "not pulled within 4 s" in failed["last_error"]
        assert failed["reason"] == "transient"
    assert puller.metrics()['kip_image_pulls_total{outcome="transient"}'] == len(slow)
    assert faulty.count("/manifests/") <= 8 * len(slow)
    faulty.forget()
    time.sleep(3)
    assert faulty.requests == [], "neither the puller nor the runtime goes on"
    puller.assert_nothing_is_left_over(before)
    assert puller.stop() < 1.0


def test_a_registry_that_is_away_is_found_again(
    containerd: Containerd, registry: Registry, start_puller: Callable[..., PullerProcess]
) -> None:
    port = free_port()
    images = [f"127.0.0.1:{port}/faults/away{number}:1" for number in range(5)]
    for number in range(5):
        push_image(registry.address, f"faults/away{number}", "1")
    puller = start_puller(KIP_CRI_ENDPOINT=containerd.endpoint, KIP_IMAGES=",".join(images), **QUICK)
    wait_until(lambda: puller.images().get(images[0], {}).get("reason") == "registry", seconds=10, what="it is away")
    before = puller.resources()
    seconds = float(os.environ.get("KIP_E2E_AWAY_SECONDS", "10"))
    time.sleep(seconds)
    tries = sum(value for name, value in puller.metrics().items() if name.startswith("kip_image_pulls_total"))
    # Five images share the registry's back-off, whose longest wait is four seconds here.
    assert tries <= 6 + seconds / 3
    back = FaultyRegistry(registry.address, port=port)
    try:
        for image in images:
            puller.wait_for(image, "present", seconds=20)
        puller.assert_nothing_is_left_over(before)
    finally:
        back.close()
    puller.stop()


def test_a_broken_manifest_is_final_and_hides_no_other(
    containerd: Containerd, faulty: FaultyRegistry, registry: Registry, start_puller: Callable[..., PullerProcess]
) -> None:
    push_image(registry.address, "faults/broken", "1")
    push_image(registry.address, "faults/whole", "1")
    manifest = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    faulty.fault = lambda _method, path: (
        Fault(status=200, headers=manifest, body=b'{"schemaVersion":2,') if "broken/manifests" in path else None
    )
    broken, whole = (f"127.0.0.1:{faulty.port}/faults/{name}:1" for name in ("broken", "whole"))
    puller = start_puller(KIP_CRI_ENDPOINT=containerd.endpoint, KIP_IMAGES=f"{broken},{whole}", **QUICK)
    puller.wait_for(whole, "present")
    puller.wait_for(broken, "failed")
    assert whole in containerd.images()
    assert broken not in containerd.images()
    before, asked = puller.resources(), faulty.count("/whole/")
    time.sleep(7)
    tries = puller.metrics()['kip_image_pulls_total{outcome="permanent"}']
    assert 1 <= tries <= 4, "once in a round"
    assert faulty.count("/broken/") <= 8 * tries
    assert faulty.count("/whole/") == asked
    puller.assert_nothing_is_left_over(before)
    puller.stop()
