from pathlib import Path

import pytest

from kernel_image_puller.errors import ConfigurationError
from kernel_image_puller.runtimes.selection import Endpoint, RuntimeKind, choose_endpoint


def _choose(endpoint: str = "", kind: str = "auto", sockets: tuple[str, ...] = (), **environment: str) -> Endpoint:
    return choose_endpoint(endpoint=endpoint, kind=kind, environment=environment, is_socket=lambda path: str(path) in sockets)


@pytest.mark.parametrize(
    ("endpoint", "kind", "address"),
    [
        ("unix:///run/containerd/containerd.sock", "cri", "unix:///run/containerd/containerd.sock"),
        ("/run/containerd/containerd.sock", "cri", "unix:///run/containerd/containerd.sock"),
        ("unix:///run/crio/crio.sock", "cri", "unix:///run/crio/crio.sock"),
        ("unix:///run/cri-dockerd.sock", "cri", "unix:///run/cri-dockerd.sock"),
        ("unix:///var/run/docker.sock", "docker", "unix:///var/run/docker.sock"),
        ("docker://", "docker", "unix:///var/run/docker.sock"),
        ("tcp://127.0.0.1:2375", "docker", "tcp://127.0.0.1:2375"),
        ("kubelet://", "kubelet", ""),
    ],
)
def test_an_endpoint_says_how_it_is_spoken_to(endpoint: str, kind: str, address: str) -> None:
    assert _choose(endpoint) == Endpoint(RuntimeKind(kind), address)


def test_the_setting_decides_where_the_name_does_not_tell() -> None:
    assert _choose("unix:///run/my.sock", "docker") == Endpoint(RuntimeKind.DOCKER, "unix:///run/my.sock")


@pytest.mark.parametrize("endpoint", ["ftp://x", "containerd", "unix://", "://"])
def test_an_endpoint_that_cannot_be_read_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="KIP_CRI_ENDPOINT"):
        _choose(endpoint)


def test_the_first_socket_that_is_there_is_taken() -> None:
    sockets = ("/run/crio/crio.sock", "/var/run/docker.sock")
    assert _choose(sockets=sockets) == Endpoint(RuntimeKind.CRI, "unix:///run/crio/crio.sock")
    assert _choose(kind="docker", sockets=sockets) == Endpoint(RuntimeKind.DOCKER, "unix:///var/run/docker.sock")


def test_a_docker_host_of_the_environment_comes_first() -> None:
    chosen = _choose(sockets=("/run/containerd/containerd.sock",), DOCKER_HOST="unix:///x.sock")
    assert chosen == Endpoint(RuntimeKind.DOCKER, "unix:///x.sock")


def test_a_pod_without_a_socket_pulls_by_the_kubelet() -> None:
    assert _choose(KUBERNETES_SERVICE_HOST="10.0.0.1").kind is RuntimeKind.KUBELET


def test_without_anything_the_operator_is_told_what_was_looked_for() -> None:
    with pytest.raises(ConfigurationError, match=r"/run/containerd/containerd\.sock"):
        _choose()


def test_looking_for_sockets_asks_the_file_system_by_default() -> None:
    assert choose_endpoint.__kwdefaults__["is_socket"] is Path.is_socket
