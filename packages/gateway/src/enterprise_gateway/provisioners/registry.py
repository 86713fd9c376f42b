"""Makes the provisioner that runs a kernel, from what its kernelspec says."""

from collections.abc import Callable, Mapping
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

from enterprise_gateway.errors import NotSupported
from enterprise_gateway.provisioners.process_proxy import KUBERNETES, LOCAL, choose
from enterprise_gateway_common.kernelspec_metadata import provisioner_config, provisioner_stanza

__all__ = ["MakeProvisioner", "Provisioners", "kernelspec_environment", "runs_here", "runs_in_cluster"]

_LAUNCH_TIMEOUT = "KERNEL_LAUNCH_TIMEOUT"

MakeProvisioner = Callable[..., KernelProvisionerBase]
"""Takes `kernel_id`, `kernel_spec`, `parent` and the kernelspec's own config as keywords."""


def runs_here(kernel_spec: KernelSpec) -> bool:
    """Tell whether a kernelspec's kernels are processes of this machine; one that can't be started at all runs nowhere."""
    try:
        return choose(provisioner_stanza(kernel_spec.metadata)).name == LOCAL
    except NotSupported:
        return False


def runs_in_cluster(kernel_spec: KernelSpec) -> bool:
    """Tell whether a kernelspec's kernels are pods; one that can't be started at all runs nowhere."""
    try:
        return choose(provisioner_stanza(kernel_spec.metadata)).name == KUBERNETES
    except NotSupported:
        return False


def kernelspec_environment(kernel_spec: KernelSpec) -> dict[str, str]:
    """Return a kernelspec's `env`, with the time for a start that its provisioner's config may name instead."""
    seconds = provisioner_config(kernel_spec.metadata).get("launch_timeout")
    return {**({} if seconds is None else {_LAUNCH_TIMEOUT: str(seconds)}), **kernel_spec.env}


class Provisioners:
    """The provisioners of this gateway by name, beside those that other packages registered with jupyter_client.

    Parameters
    ----------
    own
        Provisioner name to what makes one; these win over registered ones of the same name.
    """

    def __init__(self, *, own: Mapping[str, MakeProvisioner]) -> None:
        self._own = own

    def create(self, *, kernel_id: str, kernel_spec: KernelSpec, manager: KernelManager) -> KernelProvisionerBase:
        """Return a new provisioner for one kernel.

        Raises
        ------
        NotSupported
            The kernelspec asks for one that doesn't exist here; the text names it.
        """
        name, config = choose(provisioner_stanza(kernel_spec.metadata))
        make = self._own.get(name) or self._registered(name)
        return make(kernel_id=kernel_id, kernel_spec=kernel_spec, parent=manager, **_without_user_lists(config))

    def _registered(self, name: str) -> MakeProvisioner:
        provisioners = KernelProvisionerFactory.instance().provisioners
        if name not in provisioners:
            known = ", ".join(sorted({*self._own, *provisioners}))
            raise NotSupported(f"The kernelspec names an unknown kernel provisioner, '{name[:128]}'. Known are: {known}.")
        make: MakeProvisioner = provisioners[name].load()
        return make


def _without_user_lists(config: Mapping[str, Any]) -> dict[str, Any]:
    # Who may start a kernel is decided before there is a provisioner.
    return {key: value for key, value in config.items() if key not in {"authorized_users", "unauthorized_users"}}
