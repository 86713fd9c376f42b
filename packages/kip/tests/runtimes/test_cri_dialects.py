"""One code for every runtime behind this interface, although each shows its images in a way of its own.

CRI-O and cri-dockerd are spoken to by the protocol, not as programs: a server answers as they do.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from kernel_image_puller.cleanup import Cleaner
from kernel_image_puller.runtimes.cri import CriRuntime
from kernel_image_puller.runtimes.cri_v1 import api_pb2
from kernel_image_puller.runtimes.selection import RuntimeKind, choose_endpoint

TAGGED, UNTAGGED = "docker.io/library/a:1", "quay.io/x/b@sha256:" + "0" * 64
MISSING, PRIVATE = "docker.io/x/missing:1", "quay.io/x/private:1"


@dataclass(frozen=True)
class Dialect:
    """How one runtime puts things."""

    socket: str
    image: Callable[[str, int], Any]
    container: Callable[[str], Any]
    missing: str
    refused: str


def _hex(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _crio_image(name: str, size: int) -> Any:
    repository = name.partition("@")[0].rpartition(":")[0]
    tags, digests = ([name], [f"{repository}@sha256:{_hex(name)}"]) if "@" not in name else (["<none>:<none>"], [name])
    return api_pb2.Image(id=_hex(name), repo_tags=tags, repo_digests=digests, size=size)


def _crio_container(name: str) -> Any:
    return api_pb2.Container(id="1", image=api_pb2.ImageSpec(image=_hex(name)), image_ref=name, image_id=_hex(name))


def _familiar(name: str) -> str:
    return name.removeprefix("docker.io/").removeprefix("library/")


def _dockerd_image(name: str, size: int) -> Any:
    kind = "repo_digests" if "@" in name else "repo_tags"
    return api_pb2.Image(id=f"sha256:{_hex(name)}", **{kind: [_familiar(name)]}, size=size)


def _dockerd_container(name: str) -> Any:
    return api_pb2.Container(id="1", image=api_pb2.ImageSpec(image=_familiar(name)), image_ref=f"sha256:{_hex(name)}")


CRI_O = Dialect(
    socket="crio.sock",
    image=_crio_image,
    container=_crio_container,
    missing="unable to pull image or OCI artifact: pull image err: initializing source docker://docker.io/x/missing:1: "
    "reading manifest 1 in docker.io/x/missing: manifest unknown; artifact err: manifest unknown",
    refused="initializing source docker://quay.io/x/private:1: reading manifest 1 in quay.io/x/private: "
    "unauthorized: access to the requested resource is not authorized",
)
CRI_DOCKERD = Dialect(
    socket="cri-dockerd.sock",
    image=_dockerd_image,
    container=_dockerd_container,
    missing="Error response from daemon: manifest for x/missing:1 not found: manifest unknown: manifest unknown",
    refused="Error response from daemon: unauthorized: access to the requested resource is not authorized",
)


@pytest.fixture(params=[CRI_O, CRI_DOCKERD], ids=["cri-o", "cri-dockerd"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    chosen: Dialect = request.param
    return chosen


@pytest.fixture
def server(fake_runtime: Any, dialect: Dialect) -> Any:
    fake_runtime.show_image, fake_runtime.show_container = dialect.image, dialect.container
    return fake_runtime


@pytest.fixture
def runtime(server: Any) -> Iterator[CriRuntime]:
    client = CriRuntime(endpoint=f"unix://{server.socket}")
    yield client
    client.close()


def test_its_socket_is_known_to_speak_this_interface(dialect: Dialect) -> None:
    assert choose_endpoint(endpoint=f"unix:///run/{dialect.socket}", kind="auto", environment={}).kind is RuntimeKind.CRI


def test_every_image_is_recognised_by_its_complete_name(runtime: CriRuntime, server: Any) -> None:
    server.images = {TAGGED: 7, UNTAGGED: 8}
    found = {name: image.size for image in runtime.images() for name in image.names}
    assert (found[TAGGED], found[UNTAGGED]) == (7, 8)


def test_an_image_that_a_container_uses_is_never_removed(runtime: CriRuntime, server: Any, clock: Any, dialect: Dialect) -> None:
    server.images = {TAGGED: 7, UNTAGGED: 8}
    server.in_use = {TAGGED}
    cleaner = Cleaner(runtime=runtime, after_seconds=60, state_file=None, clock=clock)
    for name in server.images:
        cleaner.brought(name)
    cleaner.clean((), runtime.images())
    clock.advance(61)
    cleaner.clean((), runtime.images())
    assert server.removed == [dialect.image(UNTAGGED, 8).id]


def test_a_round_pulls_what_is_missing_once_and_knows_why_the_rest_is_not_there(server: Any, dialect: Dialect) -> None:
    server.fail = {
        MISSING: (grpc.StatusCode.UNKNOWN, dialect.missing),
        PRIVATE: (grpc.StatusCode.UNKNOWN, dialect.refused),
    }
    for _ in range(2):
        done = _once(server.socket, f"{TAGGED},{UNTAGGED},{MISSING},{PRIVATE}")
        assert done.returncode == 1, done.stderr
        states = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines() if "/" in line.split()[1]}
        assert states == {TAGGED: "present", UNTAGGED: "present", MISSING: "failed", PRIVATE: "failed"}
    pulled = [name for name, _, _ in server.pulls]
    assert (pulled.count(TAGGED), pulled.count(UNTAGGED)) == (1, 1)
    # A final answer is not asked for again within one series.
    assert (pulled.count(MISSING), pulled.count(PRIVATE)) == (2, 2)


def _once(socket: Path, images: str) -> subprocess.CompletedProcess[str]:
    environment = {
        # In Pants' sandbox a program finds the packages by PYTHONPATH.
        **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
        "HOME": "/nowhere",
        "KIP_MIN_FREE_PERCENT": "0",
        "KIP_CRI_ENDPOINT": f"unix://{socket}",
        "KIP_IMAGES": images,
    }
    command = [sys.executable, "-m", "kernel_image_puller", "--once"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
