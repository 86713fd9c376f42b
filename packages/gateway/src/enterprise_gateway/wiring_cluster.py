"""Builds the services of a cluster from the settings; loaded when the first kernel needs a cluster.

What is imported here, the Kubernetes client above all, takes more memory than the rest of the gateway.
"""

from pathlib import Path

from enterprise_gateway.cluster.connect import connect, own_namespace, own_service_account
from enterprise_gateway.cluster.diagnosis import Graces
from enterprise_gateway.cluster.leadership import Leadership
from enterprise_gateway.cluster.lease import Lease
from enterprise_gateway.cluster.services import ClusterOptions, ClusterServices
from enterprise_gateway.launch.plan import LaunchSettings
from enterprise_gateway.launch.policy import PolicyFile
from enterprise_gateway.provisioners.phone_home import ResponseListener
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
    own = settings.namespace or own_namespace()
    launch = LaunchSettings(
        instance=settings.instance_name,
        gateway_namespace=own,
        gateway_service_account=settings.service_account_name or own_service_account(),
        shared_namespace=own if settings.shared_namespace else None,
        namespaces=settings.kernel_namespaces,
        default_service_account=settings.default_kernel_service_account_name,
        kernel_cluster_role=settings.kernel_cluster_role,
        image_pull_secrets=settings.kernel_image_pull_secrets,
        default_image=settings.kernel_image,
        mirror_working_dirs=settings.mirror_working_dirs,
    )
    options = ClusterOptions(
        launch=launch,
        graces=Graces(unschedulable=settings.unschedulable_grace, image_pull=settings.image_pull_grace),
        launch_timeout=settings.kernel_launch_timeout,
        watched_namespaces=launch.only_namespaces,
        # Elsewhere whoever may make a pod could say that a node has an image. Without a namespace of its own the gateway is a
        # program of somebody who may see all of the cluster.
        puller_namespaces=settings.puller_namespaces or ((own,) if own else launch.only_namespaces),
        # What a kernel gets was decided before it reaches the provisioner.
        pass_environment=frozenset({"*"}),
    )
    policy = PolicyFile(Path(settings.policy_file) if settings.policy_file else None)
    client = await connect(cluster)
    lease = Lease(client=client, namespace=own or _LEASE_NAMESPACE, name=unique_slug(settings.instance_name), identity=identity)
    return ClusterServices(
        client=client,
        policy=policy,
        options=options,
        responses=_responses(settings),
        leadership=Leadership(lease=lease if settings.leader_election else None),
    )


def _responses(settings: GatewaySettings) -> ResponseListener:
    return ResponseListener(
        advertised_ip=settings.response_ip,
        ip="0.0.0.0" if settings.response_addr_any else "",  # noqa: S104  where the administrator asks for it
        port=settings.response_port,
        retries=settings.response_port_retries,
        prohibited=settings.prohibited_local_ips,
    )
