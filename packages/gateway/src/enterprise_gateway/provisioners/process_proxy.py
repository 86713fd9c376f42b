"""The process proxies that a kernel.json may name, and what runs its kernels here.

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
        The process proxy is one of a platform that isn't served, or no process proxy at all; the text names it.
    """
    if stanza is None or not stanza.name:
        return ProvisionerChoice(LOCAL, {})
    if stanza.key == "kernel_provisioner":
        return ProvisionerChoice(stanza.name, stanza.config)
    class_name = stanza.name.rpartition(".")[2]
    if class_name in _PROVISIONERS:
        return ProvisionerChoice(_PROVISIONERS[class_name], stanza.config)
    if class_name in _OTHER_PLATFORMS:
        platform = _OTHER_PLATFORMS[class_name]
        raise NotSupported(f"The kernelspec's process proxy {class_name} runs kernels on {platform}, which isn't supported here.")
    known = ", ".join(sorted(_PROVISIONERS))
    raise NotSupported(f"The kernelspec names an unknown process proxy, '{stanza.name[:128]}'. Known are: {known}.")
