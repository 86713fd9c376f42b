"""How kernels run in pods."""

from dataclasses import dataclass

from enterprise_gateway_common.environment import boolean, choice, integer, number, optional, ordered_names, setting, text

__all__ = ["KubernetesSettings"]

_KUBERNETES = "Kubernetes"
_RESPONSES = "Kernels that tell their connection"


@dataclass(frozen=True, kw_only=True)
class KubernetesSettings:
    """How kernels run in pods."""

    kubernetes: str = setting(
        "auto",
        choice("auto", "on", "off"),
        environment=("EG_KUBERNETES",),
        group=_KUBERNETES,
        help="Whether kernels may run in a cluster: auto connects as soon as a kernelspec asks for pods, on connects at the "
        "start and fails without a cluster, off never connects.",
    )
    kubeconfig: str | None = setting(
        None,
        optional(text),
        environment=("EG_KUBECONFIG",),
        group=_KUBERNETES,
        help="Kubeconfig of the cluster. Unset takes KUBECONFIG, else the cluster that the gateway is a pod of, else "
        "~/.kube/config.",
    )
    instance_name: str = setting(
        "enterprise-gateway",
        text,
        environment=("EG_INSTANCE",),
        group=_KUBERNETES,
        help="Name of this installation, a label of every object: two gateways of one cluster never see each other's kernels.",
    )
    namespace: str | None = setting(
        None,
        optional(text),
        environment=("EG_NAMESPACE",),
        group=_KUBERNETES,
        help="The gateway's own namespace; unset takes that of its pod. No client can have a kernel there unless "
        "shared_namespace is set.",
    )
    shared_namespace: bool = setting(
        False,
        boolean,
        environment=("EG_SHARED_NAMESPACE",),
        group=_KUBERNETES,
        help="Run all kernels in the gateway's namespace; otherwise each gets a namespace of its own.",
    )
    kernel_namespaces: tuple[str, ...] = setting(
        (),
        ordered_names,
        environment=("EG_KERNEL_NAMESPACES",),
        group=_KUBERNETES,
        help="The only namespaces that kernels run in, where the gateway has a Role in each and none is to be made: a client "
        "names one by KERNEL_NAMESPACE and gets the first where it names none.",
    )
    spark_namespace: str | None = setting(
        None,
        optional(text),
        environment=("EG_SPARK_NAMESPACE",),
        group=_KUBERNETES,
        help="Existing namespace of kernels that start pods (Spark), and of no others; its account "
        "default_kernel_service_account_name needs the rights of the role kernel-controller there. Without it they get a "
        "namespace of their own each, and are refused where kernels share a namespace.",
    )
    warm_pools: tuple[str, ...] = setting(
        (),
        ordered_names,
        environment=("EG_WARM_POOLS",),
        group=_KUBERNETES,
        help="Pods that wait for a start, so that a kernel is there at once: NAME=SIZE, or NAME=MINIMUM..MAXIMUM to follow the "
        "demand, by the names of kernelspecs. It wins over a kernelspec's own `warm_pool`. Pods wait where kernels share "
        "namespaces (shared_namespace, kernel_namespaces); IPython kernels of this machine have processes that wait.",
    )
    service_account_name: str | None = setting(
        None,
        optional(text),
        environment=("EG_SERVICE_ACCOUNT_NAME",),
        group=_KUBERNETES,
        help="The gateway's own service account, which no kernel may run as; unset takes that of its pod.",
    )
    default_kernel_service_account_name: str = setting(
        "default",
        text,
        environment=("EG_DEFAULT_KERNEL_SERVICE_ACCOUNT_NAME",),
        group=_KUBERNETES,
        help="Service account of kernels whose client names none.",
    )
    kernel_cluster_role: str | None = setting(
        "kernel-controller",
        optional(text),
        environment=("EG_KERNEL_CLUSTER_ROLE",),
        group=_KUBERNETES,
        help="Cluster role that the service account of a kernel that starts pods (Spark) gets in a namespace that the gateway "
        "makes for it; empty for none. Other kernels' accounts get nothing.",
    )
    puller_namespaces: tuple[str, ...] = setting(
        (),
        ordered_names,
        environment=("EG_PULLER_NAMESPACES",),
        group=_KUBERNETES,
        help="Namespaces whose image pullers are heard when they say which images their nodes have; in none of them may kernels "
        "make pods. Unset takes the gateway's own, or all where it has none.",
    )
    kernel_image: str | None = setting(
        None,
        optional(text),
        environment=("EG_KERNEL_IMAGE",),
        group=_KUBERNETES,
        help="Image of kernels whose kernelspec and client name none.",
    )
    kernel_image_pull_secrets: tuple[str, ...] = setting(
        (),
        ordered_names,
        environment=("EG_KERNEL_IMAGE_PULL_SECRETS",),
        group=_KUBERNETES,
        help="Secrets of the gateway's namespace that kernels' images are pulled with; copied into namespaces that it makes.",
    )
    mirror_working_dirs: bool = setting(
        False,
        boolean,
        environment=("EG_MIRROR_WORKING_DIRS",),
        group=_KUBERNETES,
        help="Start kernels in the folder that KERNEL_WORKING_DIR names.",
    )
    policy_file: str | None = setting(
        None,
        optional(text),
        environment=("EG_POLICY_FILE",),
        group=_KUBERNETES,
        help="YAML file that says which images, namespaces, service accounts, volumes and amounts clients may ask for; read "
        "again when it changes. Unset allows little.",
    )
    unschedulable_grace: float = setting(
        20.0,
        number(0, 86400),
        environment=("EG_UNSCHEDULABLE_GRACE",),
        group=_KUBERNETES,
        help="Seconds for which a start waits while no node can take its pod: as long as an autoscaler needs to bring one. The "
        "kernel's model says meanwhile what it waits for.",
    )
    image_pull_grace: float = setting(
        15.0,
        number(0, 86400),
        environment=("EG_IMAGE_PULL_GRACE",),
        group=_KUBERNETES,
        help="Seconds for which a start waits while its image can't be pulled for a reason that may pass, such as a registry "
        "that doesn't answer. An image that doesn't exist ends a start at once.",
    )
    watch_loss_grace: float = setting(
        60.0,
        number(0, 86400),
        environment=("EG_WATCH_LOSS_GRACE",),
        group=_KUBERNETES,
        help="Seconds without news of the cluster after which the gateway no longer lists kernels, sessions and images, nor "
        "counts kernels for limits: it answers 503 until its watch of the cluster runs again. Kernels that it knows can be used "
        "all the same.",
    )
    node_loss_grace: float = setting(
        30.0,
        number(1, 86400),
        environment=("EG_NODE_LOSS_GRACE",),
        group=_KUBERNETES,
        help="Seconds for which a kernel may be silent whose node has stopped reporting to the cluster. It goes on while "
        "it answers the gateway; a silent one counts as lost after this time, and is started again on another node.",
    )
    leader_election: bool = setting(
        True,
        boolean,
        environment=("EG_LEADER_ELECTION",),
        group=_KUBERNETES,
        help="Agree with the other replicas, by a Lease in the gateway's namespace, which of them culls kernels, restarts dead "
        "ones and cleans up orphans. False where this is the only gateway of its installation: it then does so by itself "
        "and needs no right to leases.",
    )
    response_ip: str = setting(
        "",
        text,
        environment=("EG_RESPONSE_IP",),
        group=_RESPONSES,
        help="Address by which pods reach this process, when their launcher tells its connection to the gateway; empty takes "
        "one of this machine's own.",
    )
    response_port: int = setting(
        8877,
        integer(0, 65535),
        environment=("EG_RESPONSE_PORT",),
        group=_RESPONSES,
        help="Port on which such launchers are listened to, from the first start of such a kernel on; 0 lets the operating "
        "system choose.",
    )
    response_port_retries: int = setting(
        10,
        integer(0, 1000),
        environment=("EG_RESPONSE_PORT_RETRIES",),
        group=_RESPONSES,
        help="How many of the following ports to try when the port is taken.",
    )
    response_addr_any: bool = setting(
        False,
        boolean,
        environment=("EG_RESPONSE_ADDR_ANY",),
        group=_RESPONSES,
        help="Listen on every address of this machine and not only on the one that launchers are told.",
    )
    prohibited_local_ips: tuple[str, ...] = setting(
        (),
        ordered_names,
        environment=("EG_PROHIBITED_LOCAL_IPS",),
        group=_RESPONSES,
        help="Addresses of this machine, or regular expressions of such, that are never told to launchers.",
    )
