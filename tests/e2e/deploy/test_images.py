"""What each image promises to whoever runs it: its size, its labels, its user, its signals."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

import pytest
from docker.errors import ImageNotFound
from tests.support.images import BASE_IMAGE, IMAGES, LARGE_IMAGES, require_docker, running
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker
    from docker.models.containers import Container

pytestmark = [pytest.mark.docker, pytest.mark.timeout(180)]

_MEGABYTE = 1_000_000
_SIZES = {
    "enterprise-gateway": 120,
    "kernel-image-puller": 110,
    "kernel-py": 90,
    "kernel-r": 180,
    "kernel-scala": 330,
    "kernel-spark-py": 800,
    "kernel-spark-r": 1000,
    "kernel-tf-py": 1700,
}
_PROGRAMS = {
    "enterprise-gateway": "/opt/enterprise-gateway/bin/python",
    "kernel-image-puller": "/opt/kernel-image-puller/bin/python",
    "kernel-py": "/opt/kernel/bin/python",
    "kernel-r": "/opt/kernel/bin/python",
    "kernel-scala": "/opt/kernel/bin/python",
}
_KERNELS = [name for name in IMAGES if name.startswith("kernel-") and name != "kernel-image-puller"]
_UNCOMPILED = """
import importlib.util, pathlib, sys
modules = list(pathlib.Path(sys.prefix, "lib").rglob("*.py"))
assert len(modules) > 50, sys.prefix
print([str(each) for each in modules if not pathlib.Path(importlib.util.cache_from_source(each)).exists()])
"""
# Becomes the kernel's own first process, once it has the connection that a gateway would give it.
_LAUNCH = """
import json, os, pathlib
ports = {f"{name}_port": 50000 + number for number, name in enumerate(["shell", "iopub", "stdin", "control", "hb"])}
connection = {"ip": "127.0.0.1", "transport": "tcp", "key": "key", "signature_scheme": "hmac-sha256", **ports}
pathlib.Path("/tmp/connection.json").write_text(json.dumps(connection))
os.execv("/usr/local/bin/launch-kernel", ["launch-kernel", "/tmp/connection.json"])
"""
_CONNECT = "import socket; socket.create_connection(('127.0.0.1', 50000)).close(); print('listening')"


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    client = require_docker()
    yield client
    client.close()


@pytest.mark.parametrize("name", IMAGES | LARGE_IMAGES)
def test_is_small_and_says_what_it_is(engine: docker.DockerClient, name: str) -> None:
    try:
        image = engine.images.get((IMAGES | LARGE_IMAGES)[name]).attrs
    except ImageNotFound:
        if name in IMAGES:
            raise
        pytest.skip(f"{name} wasn't built")
    base = engine.images.get(BASE_IMAGE).attrs
    assert image["RootFS"]["Layers"][: len(base["RootFS"]["Layers"])] == base["RootFS"]["Layers"]
    assert (image["Size"] - base["Size"]) / _MEGABYTE <= _SIZES[name]
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in image["Config"]["Labels"].items()}
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", labels["version"])
    assert re.fullmatch(r"[0-9a-f]{40}(-modified)?", labels["revision"])
    assert labels["licenses"] == "Apache-2.0"
    assert labels["title"]
    assert labels["description"]


@pytest.mark.parametrize("name", IMAGES)
def test_starts_its_program_itself_as_a_user_without_rights(engine: docker.DockerClient, name: str) -> None:
    settings = engine.images.get(IMAGES[name]).attrs["Config"]
    assert settings["User"] == ("65532:65532" if name == "kernel-image-puller" else "1000:100")
    assert "Healthcheck" not in settings
    assert settings["StopSignal"] == "SIGTERM"
    # A shell in between would keep signals from the program.
    command = (settings["Entrypoint"] or []) + (settings["Cmd"] or [])
    assert len(command) == 1
    assert "sh" not in command


@pytest.mark.parametrize("name", IMAGES)
def test_nothing_is_compiled_or_unpacked_at_the_start(engine: docker.DockerClient, name: str) -> None:
    with running(engine, IMAGES[name], entrypoint=[_PROGRAMS[name], "-c", _UNCOMPILED]) as container:
        assert container.wait(timeout=60)["StatusCode"] == 0, container.logs()
        assert container.logs().decode().strip() == "[]"


def test_the_gateway_serves_in_a_strict_container_and_ends_at_once_when_told_to(engine: docker.DockerClient) -> None:
    with running(engine, IMAGES["enterprise-gateway"]) as container:
        wait_until(lambda: _answer(container, "/api/kernelspecs") != "", 60)
        kernelspecs = json.loads(_answer(container, "/api/kernelspecs"))
        assert kernelspecs["default"] == "python_kubernetes"
        config = kernelspecs["kernelspecs"]["python_kubernetes"]["spec"]["metadata"]["kernel_provisioner"]["config"]
        assert config["image_name"].split("/")[-1].split(":")[0] == "kernel-py"
        _ends_by_itself(container)


def test_the_puller_goes_on_in_a_strict_container_and_ends_at_once_when_told_to(engine: docker.DockerClient) -> None:
    environment = {"KIP_IMAGES": "python:3.11", "KIP_CRI_ENDPOINT": "tcp://127.0.0.1:1"}
    with running(engine, IMAGES["kernel-image-puller"], environment=environment) as container:
        wait_until(lambda: b"INFO" in container.logs() or b"WARNING" in container.logs(), 60)
        _ends_by_itself(container)


@pytest.mark.parametrize("name", _KERNELS)
def test_a_kernel_listens_in_a_strict_container_and_ends_at_once_when_told_to(engine: docker.DockerClient, name: str) -> None:
    with running(engine, IMAGES[name], entrypoint=[_PROGRAMS[name], "-c", _LAUNCH]) as container:
        wait_until(lambda: b"listening" in _executed(container, _PROGRAMS[name], _CONNECT), 60)
        _ends_by_itself(container, 128 + signal.SIGTERM)


def _executed(container: Container, python: str, code: str) -> bytes:
    return bytes(container.exec_run([python, "-c", code]).output)


def _answer(container: Container, path: str) -> str:
    code = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:8888{path}').read().decode())"
    done = container.exec_run([_PROGRAMS["enterprise-gateway"], "-c", code])
    return done.output.decode() if done.exit_code == 0 else ""


def _ends_by_itself(container: Container, status: int = 0) -> None:
    """Its first process gets the signal, heeds it, and needs not be killed."""
    container.kill("SIGTERM")
    assert container.wait(timeout=30)["StatusCode"] == status, container.logs()
