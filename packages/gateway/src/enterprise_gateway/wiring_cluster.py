"""Builds the services of a cluster from the settings; loaded when the first kernel needs a cluster.

What is imported here, the Kubernetes client above all, takes more memory than the rest of the gateway.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from enterprise_gateway.cluster.api.connect import connect
from enterprise_gateway.cluster.leadership.leader import Leadership
from enterprise_gateway.cluster.leadership.lease import Lease
from enterprise_gateway.cluster.options import cluster_options
from enterprise_gateway.cluster.services import ClusterServices
from enterprise_gateway.launch.policy import open_policy
from enterprise_gateway.provisioners.phone_home import make_listener
from enterprise_gateway.settings import GatewaySettings
from enterprise_gateway_common.names import unique_slug

__all__ = ["make_cluster_services"]

# Where replicas outside of the cluster meet that have been given no namespace.
_LEASE_NAMESPACE = "default"


async def make_cluster_services(cluster: str, settings: GatewaySettings, *, identity: str) -> ClusterServices:
    """Return services that haven't been started, for what `find_cluster` found.

    Parameters
    ----------
    identity
        Tells this process from the other replicas.

    Raises
    ------
    Unavailable
        The cluster's configuration can't be used.
    """
    options = cluster_options(settings)
    own = options.launch.gateway_namespace
    policy = open_policy(settings.policy_file)
    # Kubernetes' client imports it wherever it is installed, and with it a second and a half of parsers that nobody here uses.
    with _taken_for_missing("kubernetes_validate"):
        client = await connect(cluster)
    lease = Lease(client=client, namespace=own or _LEASE_NAMESPACE, name=unique_slug(settings.instance_name), identity=identity)
    return ClusterServices(
        client=client,
        policy=policy,
        options=options,
        responses=make_listener(settings),
        leadership=Leadership(lease=lease if settings.leader_election else None),
    )


@contextmanager
def _taken_for_missing(module: str) -> Iterator[None]:
    """Have a module that a library can do without taken for one that isn't installed, unless somebody has it already."""
    if module in sys.modules:
        yield
        return
    missing: dict[str, object] = {module: None}
    sys.modules.update(missing)  # type: ignore[arg-type]  # the import system's own sign for "not there"
    try:
        yield
    finally:
        del sys.modules[module]
