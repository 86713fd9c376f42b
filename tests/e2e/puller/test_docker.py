"""The same on a real Docker engine."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import docker
import pytest
from puller_support import LOGIN, Fault, push_image, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from puller_support import FaultyRegistry, KernelspecsServer, PullerProcess, Registry

pytestmark = [pytest.mark.docker, pytest.mark.timeout(120)]


@pytest.fixture
def engine(docker_host: str) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=docker_host)
    yield client
    for image in client.images.list():
        for tag in image.tags:
            if "/kip-docker/" in tag:
                with contextlib.suppress(docker.errors.ImageNotFound):
                    client.images.remove(tag)
    client.close()


def test_images_are_pulled_found_again_and_refused_with_their_class(
    docker_host: str,
    engine: docker.DockerClient,
    faulty: FaultyRegistry,
    registry: Registry,
    start_puller: Callable[..., PullerProcess],
) -> None:
    push_image(registry.address, "kip-docker/a", "1", size=100_000)
    host = f"127.0.0.1:{faulty.port}/kip-docker"
    puller = start_puller(DOCKER_HOST=docker_host, KIP_IMAGES=f"{host}/a:1,{host}/missing:1", KIP_INTERVAL="1")
    present = puller.wait_for(f"{host}/a:1", "present")
    assert present["size"] > 100_000
    assert puller.wait_for(f"{host}/missing:1", "failed")["reason"] == "permanent"
    faulty.forget()
    engine.images.remove(f"{host}/a:1")
    wait_until(lambda: faulty.count("/a/") > 0, seconds=10, what="it is pulled again")
    puller.wait_for(f"{host}/a:1", "present")
    puller.stop()


def test_always_moves_a_changed_tag_and_costs_little_otherwise(
    docker_host: str,
    engine: docker.DockerClient,
    faulty: FaultyRegistry,
    registry: Registry,
    start_puller: Callable[..., PullerProcess],
) -> None:
    push_image(registry.address, "kip-docker/moving", "latest", content="one")
    image = f"127.0.0.1:{faulty.port}/kip-docker/moving:latest"
    puller = start_puller(DOCKER_HOST=docker_host, KIP_IMAGES=image, KIP_PULL_POLICY="Always", KIP_INTERVAL="1")
    puller.wait_for(image, "present")
    before = engine.images.get(image).id
    checked = 'kip_image_pulls_total{outcome="checked"}'
    wait_until(lambda: puller.metrics()[checked] >= 1, seconds=10, what="one check")
    faulty.forget()
    start = puller.metrics()[checked]
    wait_until(lambda: puller.metrics()[checked] >= start + 3, seconds=15, what="three checks")
    assert faulty.count("/blobs/") == 0
    assert faulty.count("/manifests/") <= puller.metrics()[checked] - start + 1
    push_image(registry.address, "kip-docker/moving", "latest", content="two")
    wait_until(lambda: engine.images.get(image).id != before, seconds=10, what="the tag has moved")
    puller.stop()


def test_a_private_image_needs_its_login(
    docker_host: str,
    engine: docker.DockerClient,
    private_registry: Registry,
    start_puller: Callable[..., PullerProcess],
    write_login: Callable[..., Path],
) -> None:
    push_image(private_registry.address, "kip-docker/private", "1", auth=LOGIN)
    image = f"{private_registry.address}/kip-docker/private:1"
    without = start_puller("--once", DOCKER_HOST=docker_host, KIP_IMAGES=image)
    assert without.process.wait(60) == 1
    secrets = write_login(private_registry.address)
    with_login = start_puller("--once", DOCKER_HOST=docker_host, KIP_IMAGES=image, KIP_PULL_SECRETS=str(secrets))
    assert with_login.process.wait(60) == 0, with_login.text()
    assert engine.images.get(image)
    assert LOGIN[1] not in without.text() + with_login.text()


def test_sigterm_in_the_middle_of_a_pull_ends_both(
    docker_host: str,
    engine: docker.DockerClient,
    faulty: FaultyRegistry,
    registry: Registry,
    start_puller: Callable[..., PullerProcess],
) -> None:
    push_image(registry.address, "kip-docker/slow", "1", size=400_000)
    image = f"127.0.0.1:{faulty.port}/kip-docker/slow:1"
    faulty.fault = lambda _method, path: Fault(bytes_per_second=20_000) if "/blobs/" in path else None
    puller = start_puller(DOCKER_HOST=docker_host, KIP_IMAGES=image)
    wait_until(lambda: puller.images().get(image, {}).get("progress"), seconds=20, what="there is progress")
    assert puller.stop() < 1.0
    with pytest.raises(docker.errors.ImageNotFound):
        engine.images.get(image)


def test_an_image_by_digest_is_pulled_and_recognised(
    docker_host: str,
    engine: docker.DockerClient,
    faulty: FaultyRegistry,
    registry: Registry,
    start_puller: Callable[..., PullerProcess],
) -> None:
    pushed = push_image(registry.address, "kip-docker/digest", "1")
    image = f"127.0.0.1:{faulty.port}/kip-docker/digest@{pushed.digest}"
    puller = start_puller(DOCKER_HOST=docker_host, KIP_IMAGES=image, KIP_INTERVAL="1")
    puller.wait_for(image, "present")
    faulty.forget()
    rounds = 'kip_kernelspec_fetches_total{outcome="success"}'
    before = puller.metrics()[rounds]
    wait_until(lambda: puller.metrics()[rounds] >= before + 3, seconds=15, what="three more rounds")
    assert faulty.requests == []
    puller.stop()
    engine.images.remove(image)


def test_what_it_brought_is_removed_when_nobody_wants_it_and_no_container_uses_it(
    docker_host: str,
    engine: docker.DockerClient,
    registry: Registry,
    gateway: KernelspecsServer,
    start_puller: Callable[..., PullerProcess],
) -> None:
    for name in ("free", "used"):
        push_image(registry.address, f"kip-docker/{name}", "1")
    free, used = (f"{registry.address}/kip-docker/{name}:1" for name in ("free", "used"))
    gateway.set_images({"free": free, "used": used})
    puller = start_puller(
        DOCKER_HOST=docker_host,
        KIP_GATEWAY_HOST=gateway.url,
        KIP_AUTH_TOKEN="t0k3n",
        KIP_INTERVAL="1",
        KIP_REMOVE_AFTER_HOURS="0.0005",
    )
    puller.wait_for(free, "present")
    puller.wait_for(used, "present")
    container = engine.containers.create(used)
    gateway.set_images({})

    def tags() -> set[str]:
        # In one call: what the list names may be gone when each image is asked for.
        return {tag for image in engine.api.images() for tag in image["RepoTags"] or ()}

    try:
        wait_until(lambda: free not in tags(), seconds=15, what=f"it is removed: {puller.text()}")
        assert used in tags()
    finally:
        container.remove()
    wait_until(lambda: used not in tags(), seconds=15, what="it is removed when the container is gone")
    puller.stop()
