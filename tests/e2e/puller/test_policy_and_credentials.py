"""What is asked of a registry and with which login, on a real containerd and real registries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from puller_support import LOGIN, KernelspecsServer, push_image, wait_until
from tests.support.tls import make_tls_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from puller_support import Containerd, FaultyRegistry, PullerProcess, Registry

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(120)]


def _wait_rounds(puller: PullerProcess, rounds: int) -> None:
    name = 'kip_kernelspec_fetches_total{outcome="success"}'
    before = puller.metrics()[name]
    wait_until(lambda: puller.metrics()[name] >= before + rounds, seconds=30, what=f"{rounds} more rounds")


def test_a_present_image_costs_the_registry_nothing(
    containerd: Containerd, faulty: FaultyRegistry, registry: Registry, start_puller: Callable[..., PullerProcess]
) -> None:
    push_image(registry.address, "policy/present", "1")
    image = f"127.0.0.1:{faulty.port}/policy/present:1"
    puller = start_puller(KIP_CRI_ENDPOINT=containerd.endpoint, KIP_IMAGES=image, KIP_INTERVAL="1")
    puller.wait_for(image, "present")
    faulty.forget()
    _wait_rounds(puller, 4)
    assert faulty.requests == []
    puller.stop()


def test_always_costs_one_manifest_request_and_moves_a_changed_tag(
    containerd: Containerd, faulty: FaultyRegistry, registry: Registry, start_puller: Callable[..., PullerProcess]
) -> None:
    first = push_image(registry.address, "policy/always", "latest", content="one")
    image = f"127.0.0.1:{faulty.port}/policy/always:latest"
    puller = start_puller(KIP_CRI_ENDPOINT=containerd.endpoint, KIP_IMAGES=image, KIP_INTERVAL="1", KIP_PULL_POLICY="Always")
    puller.wait_for(image, "present")
    checked = 'kip_image_pulls_total{outcome="checked"}'
    wait_until(lambda: puller.metrics()[checked] >= 1, seconds=10, what="one check")
    faulty.forget()
    before = puller.metrics()[checked]
    wait_until(lambda: puller.metrics()[checked] >= before + 4, seconds=20, what="four checks")
    checks = puller.metrics()[checked] - before
    assert checks <= faulty.count() <= checks + 1
    assert faulty.count("/manifests/", method="HEAD") == faulty.count()
    assert containerd.digest(image) == first.digest
    second = push_image(registry.address, "policy/always", "latest", content="two")
    wait_until(lambda: containerd.digest(image) == second.digest, seconds=10, what="the tag has moved")
    puller.stop()


def test_a_kernelspec_may_have_a_policy_and_a_node_selector_of_its_own(
    containerd: Containerd,
    faulty: FaultyRegistry,
    registry: Registry,
    gateway: KernelspecsServer,
    start_puller: Callable[..., PullerProcess],
) -> None:
    for name in ("quiet", "eager", "gpu", "other"):
        push_image(registry.address, f"policy/{name}", "1")
    host = f"127.0.0.1:{faulty.port}/policy"
    gateway.set_images(
        {
            "quiet": f"{host}/quiet:1",
            "eager": {"image_name": f"{host}/eager:1", "image_pull_policy": "Always"},
            "gpu": {"image_name": f"{host}/gpu:1", "node_selector": {"gpu": "yes"}},
            "other": {"image_name": f"{host}/other:1", "node_selector": {"gpu": "no"}},
        }
    )
    puller = start_puller(
        KIP_CRI_ENDPOINT=containerd.endpoint,
        KIP_GATEWAY_HOST=gateway.url,
        KIP_AUTH_TOKEN="t0k3n",
        KIP_INTERVAL="1",
        KIP_NODE_LABELS="gpu=yes",
    )
    for name in ("quiet", "eager", "gpu"):
        puller.wait_for(f"{host}/{name}:1", "present")
    wait_until(lambda: puller.metrics()['kip_image_pulls_total{outcome="checked"}'] >= 1, seconds=10, what="a check")
    faulty.forget()
    _wait_rounds(puller, 3)
    assert faulty.count("/eager/") >= 2
    assert faulty.count("/eager/") == faulty.count()
    assert [entry["image"] for entry in puller.status()["elsewhere"]] == [f"{host}/other:1"]
    puller.stop()


def test_an_image_by_digest_is_pulled_and_recognised(
    containerd: Containerd, faulty: FaultyRegistry, registry: Registry, start_puller: Callable[..., PullerProcess]
) -> None:
    pushed = push_image(registry.address, "policy/digest", "1")
    image = f"127.0.0.1:{faulty.port}/policy/digest@{pushed.digest}"
    puller = start_puller(
        KIP_CRI_ENDPOINT=containerd.endpoint,
        KIP_IMAGES=f"127.0.0.1:{faulty.port}/policy/digest:1@{pushed.digest}",
        KIP_INTERVAL="1",
    )
    puller.wait_for(image, "present")
    faulty.forget()
    _wait_rounds(puller, 2)
    assert faulty.requests == []
    puller.stop()


def test_a_private_image_needs_its_login_and_a_renewed_one_is_found(
    containerd: Containerd,
    private_registry: Registry,
    start_puller: Callable[..., PullerProcess],
    write_login: Callable[..., Path],
) -> None:
    push_image(private_registry.address, "policy/private", "1", auth=LOGIN)
    image = f"{private_registry.address}/policy/private:1"
    secrets = write_login(private_registry.address, ("puller", "an old pass phrase"))
    puller = start_puller(
        KIP_CRI_ENDPOINT=containerd.endpoint,
        KIP_IMAGES=image,
        KIP_PULL_SECRETS=str(secrets),
        KIP_INTERVAL="1",
        KIP_RETRY_MAX_WAIT="2",
    )
    failed = puller.wait_for(image, "failed")
    assert failed["reason"] == "authentication"
    write_login(private_registry.address)
    puller.wait_for(image, "present", seconds=15)
    puller.stop()
    assert image in containerd.images()
    for secret in (LOGIN[1], "an old pass phrase"):
        assert secret not in puller.text()
        assert secret not in str(failed)


def test_a_public_image_is_pulled_although_there_is_a_wrong_login(
    containerd: Containerd, registry: Registry, start_puller: Callable[..., PullerProcess], write_login: Callable[..., Path]
) -> None:
    push_image(registry.address, "policy/public", "1")
    secrets = write_login(registry.address, ("nobody", "nothing"))
    image = f"{registry.address}/policy/public:1"
    puller = start_puller(KIP_CRI_ENDPOINT=containerd.endpoint, KIP_IMAGES=image, KIP_PULL_SECRETS=str(secrets))
    puller.wait_for(image, "present")
    puller.stop()


def test_a_registry_that_is_not_allowed_is_never_asked(
    containerd: Containerd, faulty: FaultyRegistry, registry: Registry, start_puller: Callable[..., PullerProcess]
) -> None:
    push_image(registry.address, "policy/allowed", "1")
    allowed = f"{registry.address}/policy/allowed:1"
    refused = f"127.0.0.1:{faulty.port}/policy/allowed:1"
    puller = start_puller(
        KIP_CRI_ENDPOINT=containerd.endpoint, KIP_IMAGES=f"{allowed},{refused}", KIP_ALLOWED_REGISTRIES=registry.address
    )
    puller.wait_for(allowed, "present")
    assert [entry["image"] for entry in puller.status()["rejected"]] == [refused]
    assert faulty.requests == []
    puller.stop()


def test_a_gateways_certificate_is_checked_unless_the_administrator_says_otherwise(
    containerd: Containerd, registry: Registry, start_puller: Callable[..., PullerProcess], tmp_path: Path
) -> None:
    push_image(registry.address, "policy/tls", "1")
    image = f"{registry.address}/policy/tls:1"
    files = make_tls_files(tmp_path)
    server = KernelspecsServer(certificate=files.server)
    server.set_images({"py": image})
    common = {"KIP_CRI_ENDPOINT": containerd.endpoint, "KIP_GATEWAY_HOST": server.url, "KIP_INTERVAL": "1"}
    strict = start_puller(**common)
    error = wait_until(lambda: strict.status().get("sources", [{}])[0].get("error"), seconds=10, what="it is refused")
    assert "CERTIFICATE_VERIFY_FAILED" in error
    assert server.statuses == []
    strict.stop()
    for settings in ({"KIP_CA_FILE": str(files.authority)}, {"KIP_VALIDATE_CERT": "false"}):
        puller = start_puller(**common, **settings)
        puller.wait_for(image, "present")
        assert ("KIP_VALIDATE_CERT is off" in puller.text()) == ("KIP_VALIDATE_CERT" in settings)
        puller.stop()
    server.close()
