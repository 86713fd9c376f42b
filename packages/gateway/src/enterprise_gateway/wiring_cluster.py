"""Builds the services of a cluster from the settings; loaded when the first kernel needs a cluster.

What is imported here, the Kubernetes client above all, takes more memory than the rest of the gateway.
"""

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
    client = await connect(cluster)
    lease = Lease(client=client, namespace=own or _LEASE_NAMESPACE, name=unique_slug(settings.instance_name), identity=identity)
    return ClusterServices(
        client=client,
        policy=policy,
        options=options,
        responses=make_listener(settings),
        leadership=Leadership(lease=lease if settings.leader_election else None),
    )
