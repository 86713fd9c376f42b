"""How a process uses a cluster, from the settings: the same in the gateway and in a plain Jupyter Server."""

from enterprise_gateway.cluster.api.connect import own_namespace, own_service_account
from enterprise_gateway.cluster.pods.diagnosis import Graces
from enterprise_gateway.cluster.services import ClusterOptions
from enterprise_gateway.launch.environment import environment_rules
from enterprise_gateway.launch.plan import LaunchSettings
from enterprise_gateway.launch.pool_size import read_pool_sizes
from enterprise_gateway.settings import GatewaySettings

__all__ = ["cluster_options"]


def cluster_options(settings: GatewaySettings) -> ClusterOptions:
    """Return what the settings say of the use of a cluster.

    Raises
    ------
    ValueError
        A setting has a value that can't be used.
    """
    own = settings.namespace or own_namespace()
    launch = LaunchSettings(
        instance=settings.instance_name,
        gateway_namespace=own,
        gateway_service_account=settings.service_account_name or own_service_account(),
        shared_namespace=own if settings.shared_namespace else None,
        namespaces=settings.kernel_namespaces,
        spark_namespace=settings.spark_namespace,
        default_service_account=settings.default_kernel_service_account_name,
        kernel_cluster_role=settings.kernel_cluster_role,
        image_pull_secrets=settings.kernel_image_pull_secrets,
        default_image=settings.kernel_image,
        mirror_working_dirs=settings.mirror_working_dirs,
        pools=read_pool_sizes(settings.warm_pools),
    )
    return ClusterOptions(
        launch=launch,
        graces=Graces(unschedulable=settings.unschedulable_grace, image_pull=settings.image_pull_grace),
        launch_timeout=settings.kernel_launch_timeout,
        max_launch_timeout=settings.max_kernel_launch_timeout,
        environment=environment_rules(settings),
        node_loss_grace=settings.node_loss_grace,
        watched_namespaces=launch.watched_namespaces,
        # Peers whoever may make a pod could say that a node has an image. Without a namespace of its own the gateway is a
        # program of somebody who may see all of the cluster.
        puller_namespaces=settings.puller_namespaces or ((own,) if own else launch.only_namespaces),
    )
