"""The process proxies and provisioners that a kernel.json may name, and what runs its kernels here.

The class name is looked up in a table by the last part of its dotted path and is never imported: a kernelspec names a
platform, it doesn't bring code.
"""

from typing import Any, NamedTuple

from enterprise_gateway.errors import NotSupported
from enterprise_gateway_common.kernelspec_metadata import ProvisionerStanza

__all__ = ["KUBERNETES", "LOCAL", "ProvisionerChoice", "choose"]

LOCAL = "local-provisioner"
KUBERNETES = "kubernetes"

_PROVISIONERS = {"LocalProcessProxy": LOCAL, "KubernetesProcessProxy": KUBERNETES}

# What the package gateway_provisioners calls its provisioner for pods, and the keys of that one's config that are understood.
_OTHER_KUBERNETES = "kubernetes-provisioner"
_OTHER_KUBERNETES_KEYS = frozenset(
    {
        "authorized_users",
        "connection",
        "executor_image_name",
        "image_name",
        "image_pull_policy",
        "impersonation_enabled",
        "launch_timeout",
        "node_selector",
        "port_range",
        "proxy_ports",
        "starts_pods",
        "unauthorized_users",
        "warm_pool",
    }
)

# Classes of the original that exist, each with the platform that this gateway doesn't start kernels on.
_OTHER_PLATFORMS = {
    "DistributedProcessProxy": "hosts reached by SSH",
    "YarnClusterProcessProxy": "Hadoop YARN",
    "ConductorClusterProcessProxy": "IBM Spectrum Conductor",
    "DockerProcessProxy": "Docker",
    "DockerSwarmProcessProxy": "Docker Swarm",
    "CustomResourceProcessProxy": "custom resources",
    "SparkOperatorProcessProxy": "the Spark operator",
}


class ProvisionerChoice(NamedTuple):
    """Which provisioner runs the kernels of a kernelspec, and what the kernelspec tells it."""

    name: str
    config: dict[str, Any]


def choose(stanza: ProvisionerStanza | None) -> ProvisionerChoice:
    """Return the provisioner that a kernelspec asks for; the local one where it asks for none.

    Raises
    ------
    NotSupported
        The process proxy is one of a platform that isn't served, or no process proxy at all; the text names it. Or it is
        another package's provisioner with a config that can't be followed here.
    """
    if stanza is None or not stanza.name:
        return ProvisionerChoice(LOCAL, {})
    if stanza.key == "kernel_provisioner":
        return (
            _other_kubernetes(stanza.config)
            if stanza.name == _OTHER_KUBERNETES
            else ProvisionerChoice(stanza.name, stanza.config)
        )
    class_name = stanza.name.rpartition(".")[2]
    if class_name in _PROVISIONERS:
        return ProvisionerChoice(_PROVISIONERS[class_name], stanza.config)
    if class_name in _OTHER_PLATFORMS:
        platform = _OTHER_PLATFORMS[class_name]
        raise NotSupported(f"The kernelspec's process proxy {class_name} runs kernels on {platform}, which isn't supported here.")
    known = ", ".join(sorted(_PROVISIONERS))
    raise NotSupported(f"The kernelspec names an unknown process proxy, '{stanza.name[:128]}'. Known are: {known}.")


def _other_kubernetes(config: dict[str, Any]) -> ProvisionerChoice:
    unknown = ", ".join(sorted(config.keys() - _OTHER_KUBERNETES_KEYS))
    if unknown:
        raise NotSupported(
            f"The kernelspec's kernel provisioner {_OTHER_KUBERNETES} has a config that can't be followed here: {unknown[:128]}. "
            f"Remove it, or name the provisioner {KUBERNETES} to have it ignored."
        )
    return ProvisionerChoice(KUBERNETES, {name: value for name, value in config.items() if value is not None})
