"""Which runtime is meant: by the endpoint that is set, or by the sockets that are there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from kernel_image_puller.errors import ConfigurationError

__all__ = ["KNOWN_SOCKETS", "Endpoint", "RuntimeKind", "choose_endpoint"]


class RuntimeKind(StrEnum):
    """How an endpoint is spoken to."""

    CRI = "cri"
    DOCKER = "docker"
    KUBELET = "kubelet"


@dataclass(frozen=True)
class Endpoint:
    """A runtime and where it is reached."""

    kind: RuntimeKind
    address: str


KNOWN_SOCKETS = (
    Endpoint(RuntimeKind.CRI, "/run/containerd/containerd.sock"),
    Endpoint(RuntimeKind.CRI, "/run/crio/crio.sock"),
    Endpoint(RuntimeKind.CRI, "/run/k3s/containerd/containerd.sock"),
    Endpoint(RuntimeKind.CRI, "/run/k0s/containerd.sock"),
    Endpoint(RuntimeKind.CRI, "/run/cri-dockerd.sock"),
    Endpoint(RuntimeKind.DOCKER, "/run/docker.sock"),
    Endpoint(RuntimeKind.DOCKER, "/var/run/docker.sock"),
)
_DOCKER_SOCKET_NAMES = frozenset({"docker.sock", "podman.sock"})


def choose_endpoint(
    *,
    endpoint: str,
    kind: str,
    environment: Mapping[str, str],
    is_socket: Callable[[Path], bool] = Path.is_socket,
) -> Endpoint:
    """Return the runtime that the settings mean, or the first one that is there.

    Parameters
    ----------
    endpoint
        `KIP_CRI_ENDPOINT`; may be empty.
    kind
        `KIP_RUNTIME`: `auto`, or how the endpoint is spoken to.
    environment
        Tells whether there is a `DOCKER_HOST` and whether this is a pod.
    is_socket
        Tells whether there is a socket at a path.

    Raises
    ------
    ConfigurationError
        The endpoint can't be read, or nothing was found.
    """
    if endpoint:
        return _with_kind(_parse(endpoint), kind)
    wanted = None if kind == "auto" else RuntimeKind(kind)
    if wanted is RuntimeKind.KUBELET:
        return Endpoint(RuntimeKind.KUBELET, "")
    docker_host = environment.get("DOCKER_HOST", "")
    if docker_host and wanted in {None, RuntimeKind.DOCKER}:
        return Endpoint(RuntimeKind.DOCKER, docker_host)
    for known in KNOWN_SOCKETS:
        if wanted in {None, known.kind} and is_socket(Path(known.address)):
            return Endpoint(known.kind, f"unix://{known.address}")
    if wanted is None and environment.get("KUBERNETES_SERVICE_HOST"):
        return Endpoint(RuntimeKind.KUBELET, "")
    looked_at = ", ".join(known.address for known in KNOWN_SOCKETS if wanted in {None, known.kind})
    raise ConfigurationError(f"there is no container runtime here (looked for {looked_at}); set KIP_CRI_ENDPOINT")


def _parse(endpoint: str) -> Endpoint:
    if "://" not in endpoint and endpoint.startswith("/"):
        endpoint = f"unix://{endpoint}"
    parts = urlsplit(endpoint)
    match parts.scheme:
        case "kubelet":
            return Endpoint(RuntimeKind.KUBELET, "")
        case "docker":
            return Endpoint(RuntimeKind.DOCKER, f"unix://{parts.path or '/var/run/docker.sock'}")
        case "tcp" | "http" | "https" | "npipe":
            return Endpoint(RuntimeKind.DOCKER, endpoint)
        case "unix" | "containerd" | "cri" if parts.path:
            # By the whole name: cri-dockerd's socket speaks CRI, though "docker" is in it.
            kind = RuntimeKind.DOCKER if Path(parts.path).name in _DOCKER_SOCKET_NAMES else RuntimeKind.CRI
            return Endpoint(kind, f"unix://{parts.path}")
    raise ConfigurationError(f"KIP_CRI_ENDPOINT: {endpoint!r} is not unix:///path, tcp://host:port or kubelet://")


def _with_kind(endpoint: Endpoint, kind: str) -> Endpoint:
    return endpoint if kind == "auto" else Endpoint(RuntimeKind(kind), endpoint.address)
