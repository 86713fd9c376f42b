"""The ports of a kernel's pod that the gateway passes on, as they stand on the pod.

They are written when the pod is made and not read from the kernelspec again: every replica opens the same ones, and a
kernelspec that changes opens no port of kernels that run already.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from enterprise_gateway_common import labels

__all__ = ["OpenPorts", "proxy_ports_of", "with_proxy_ports"]


class OpenPorts(NamedTuple):
    """What of a kernel's pod can be reached through the gateway."""

    address: str
    """The pod's; empty while it has none, or the kernel doesn't run."""
    ports: tuple[int, ...]
    secret: bytes
    """Known to every replica and to no user of the gateway; where the kernel has a supervisor, not to the pod either."""


def with_proxy_ports(pod: Mapping[str, Any], ports: Sequence[int]) -> dict[str, Any]:
    """Return a pod on which these ports stand, whatever its template wrote there.

    A pod on its node's network gets none: its ports are those of everybody on the node.
    """
    metadata = pod["metadata"]
    written = {name: text for name, text in metadata["annotations"].items() if name != labels.PROXY_PORTS_ANNOTATION}
    if ports and not pod["spec"].get("hostNetwork"):
        written[labels.PROXY_PORTS_ANNOTATION] = ",".join(map(str, ports))
    return {**pod, "metadata": {**metadata, "annotations": written}}


def proxy_ports_of(annotations: Mapping[str, str]) -> tuple[int, ...]:
    """Return the ports that stand on a pod."""
    words = annotations.get(labels.PROXY_PORTS_ANNOTATION, "").split(",")
    return tuple(int(word) for word in words if word.isascii() and word.isdecimal())
