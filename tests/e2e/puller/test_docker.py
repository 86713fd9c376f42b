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

    from puller_support import FaultyRegistry, PullerProcess, Registry

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
