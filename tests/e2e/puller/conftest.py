"""The real parts that these tests need, each found by an environment variable or on the PATH.

Without a part its tests are skipped with the reason; with REQUIRE_E2E=1 they fail instead.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from puller_cluster import Installation, Kubectl
from puller_support import LOGIN, Containerd, FaultyRegistry, KernelspecsServer, PullerProcess, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests after which the cluster has another node come last: others count its nodes."""
    items.sort(key=lambda item: "join" in getattr(item, "fixturenames", ()))


def _need(value: Any, reason: str) -> Any:
    if not value:
        if os.environ.get("REQUIRE_E2E") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return value


@pytest.fixture(scope="session")
def need() -> Callable[[Any, str], Any]:
    """Returns a function that returns a part, or ends the test with the reason why it isn't there."""
    return _need


@pytest.fixture(scope="session")
def containerd_program() -> str:
    """Returns the containerd to test with."""
    chosen = os.environ.get("CONTAINERD_PROGRAM") or shutil.which("containerd")
    _need(chosen and shutil.which("ctr"), "there is no containerd with ctr on the PATH (or CONTAINERD_PROGRAM)")
    _need(os.geteuid() == 0, "containerd can be started by root only")
    return str(chosen)


@pytest.fixture
def containerd(tmp_path: Path, containerd_program: str) -> Iterator[Containerd]:
    runtime = Containerd(tmp_path / "containerd", program=containerd_program)
    yield runtime
    runtime.close()


@pytest.fixture
def small_containerd(tmp_path: Path, containerd_program: str) -> Iterator[Containerd]:
    """A containerd with room for little."""
    runtime = Containerd(tmp_path / "small", program=containerd_program, room_megabytes=24)
    yield runtime
    runtime.close()


@pytest.fixture(scope="session")
def _registry_program() -> str:
    return str(_need(shutil.which("docker-registry"), "docker-registry is not installed"))


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory, _registry_program: str) -> Iterator[Registry]:
    made = Registry(tmp_path_factory.mktemp("registry"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def private_registry(tmp_path_factory: pytest.TempPathFactory, _registry_program: str) -> Iterator[Registry]:
    made = Registry(tmp_path_factory.mktemp("private"), private=True)
    yield made
    made.close()


@pytest.fixture
def faulty(registry: Registry) -> Iterator[FaultyRegistry]:
    """A registry that counts and fails as it is told, with the content of `registry`."""
    made = FaultyRegistry(registry.address)
    yield made
    made.close()


@pytest.fixture
def gateway() -> Iterator[KernelspecsServer]:
    made = KernelspecsServer(token="t0k3n")
    yield made
    made.close()


@pytest.fixture
def start_puller(tmp_path: Path) -> Iterator[Callable[..., PullerProcess]]:
    """Starts pullers, and ends those that a test has left."""
    running: list[PullerProcess] = []

    def start(*arguments: str, **environment: str) -> PullerProcess:
        process = PullerProcess(tmp_path / f"puller-{len(running)}.log", *arguments, **environment)
        running.append(process)
        return process

    yield start
    for process in running:
        process.__exit__()


@pytest.fixture
def write_login(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file as a mounted Secret has it."""

    def write(registry: str, login: tuple[str, str] = LOGIN) -> Path:
        folder = tmp_path / "pull-secrets" / "registry"
        folder.mkdir(parents=True, exist_ok=True)
        entry = {"auth": base64.b64encode(":".join(login).encode()).decode()}
        new = folder / ".new"
        new.write_text(json.dumps({"auths": {registry: entry}}), encoding="utf-8")
        new.rename(folder / ".dockerconfigjson")
        return folder.parent

    return write


@pytest.fixture(scope="session")
def docker_host() -> str:
    """Returns the address of a Docker engine."""
    found = os.environ.get("DOCKER_HOST") or ("unix:///var/run/docker.sock" if Path("/var/run/docker.sock").is_socket() else "")
    return str(_need(found, "there is no Docker engine (DOCKER_HOST)"))


@pytest.fixture(scope="session")
def node_sockets() -> list[str]:
    """Returns the CRI sockets of two nodes of one cluster."""
    found = [part for part in os.environ.get("CONTAINERD_ADDRESS", "").split(",") if part]
    return list(_need(found if len(found) > 1 else None, "CONTAINERD_ADDRESS doesn't name the CRI sockets of two nodes"))


@pytest.fixture(scope="session")
def cluster_registry() -> str:
    """Returns the registry in which the cluster's nodes look up every image first."""
    return str(_need(os.environ.get("REGISTRY"), "REGISTRY doesn't name the registry that the cluster's nodes pull from"))


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """Returns kubectl for the cluster of KUBECONFIG."""
    _need(os.environ.get("KUBECONFIG"), "there is no cluster (KUBECONFIG)")
    return Kubectl(str(_need(shutil.which("kubectl"), "kubectl is not on the PATH")))


@pytest.fixture(scope="session")
def cluster_program() -> str:
    """Returns the program that stops, starts and adds parts of this cluster."""
    return str(_need(os.environ.get("CLUSTER"), "CLUSTER doesn't name the program that controls the cluster's parts"))


@pytest.fixture(scope="session")
def host_address() -> str:
    """Returns this machine's address as the cluster's nodes know it."""
    return str(_need(os.environ.get("HOST_ADDRESS"), "HOST_ADDRESS doesn't say how the nodes reach this machine"))


@pytest.fixture
def let_nodes_reach(host_address: str) -> Iterator[Callable[[int], str]]:
    """Returns a function that tells the nodes of a registry on a port of this machine, and returns its name there."""
    certificates = _need(os.environ.get("NODE_CERTS_D"), "NODE_CERTS_D doesn't name the nodes' folder of registries")
    made: list[Path] = []

    def tell(port: int) -> str:
        host = f"{host_address}:{port}"
        folder = Path(certificates) / host
        folder.mkdir()
        made.append(folder)
        (folder / "hosts.toml").write_text(f'server = "http://{host}"\n', encoding="utf-8")
        return host

    yield tell
    for folder in made:
        shutil.rmtree(folder)


@pytest.fixture
def private_host(private_registry: Registry, let_nodes_reach: Callable[[int], str]) -> str:
    """Returns the private registry's address as the nodes know it."""
    return let_nodes_reach(private_registry.port)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def puller_image(request: pytest.FixtureRequest) -> str:
    """Returns the name of an image with the puller that the cluster's nodes find."""
    return os.environ.get("KIP_E2E_IMAGE") or str(request.getfixturevalue("built_image"))


@pytest.fixture(scope="session")
def built_image(docker_host: str, cluster_registry: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Returns the name of an image with the puller of this checkout, in the cluster's registry."""
    docker = [str(_need(shutil.which("docker"), "the docker command is not on the PATH")), "-H", docker_host]
    context = tmp_path_factory.mktemp("image")
    here = Path(__file__).parent
    shutil.copy(here / "image" / "Dockerfile", context)
    packages = [str(here.parents[2] / "packages" / name) for name in ("common", "kip")]
    _run(sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(context / "site"), *packages)
    for script in (context / "site" / "bin").iterdir():
        lines = script.read_text(encoding="utf-8").split("\n", 1)
        script.write_text("#!/usr/bin/env python3\n" + lines[1], encoding="utf-8")
    base = os.environ.get("BASE_IMAGE", "python:3.11-slim-bookworm")
    identity = _run(*docker, "build", "-q", "--build-arg", f"BASE_IMAGE={base}", str(context)).strip()
    # A tag for this content: nodes keep what they have under a tag that they know.
    name = f"kip-e2e/kernel-image-puller:{identity.removeprefix('sha256:')[:12]}"
    _run(*docker, "tag", identity, f"{cluster_registry}/{name}")
    _run(*docker, "push", "-q", f"{cluster_registry}/{name}")
    return name


@pytest.fixture
def installation(kubectl: Kubectl, puller_image: str) -> Iterator[Installation]:
    """Returns a namespace for a DaemonSet; everything in it is removed afterwards."""
    made = Installation(kubectl, f"kip-e2e-{os.urandom(4).hex()}", puller_image)
    yield made
    made.remove()
