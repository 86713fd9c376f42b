"""Everything that one start will ask of the cluster, decided and checked before the first request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from enterprise_gateway.errors import LaunchRefused
from enterprise_gateway.launch.affinity import prefer_nodes
from enterprise_gateway.launch.executor import check_executor, executor_pod
from enterprise_gateway.launch.names import KernelNames, annotations, kernel_labels, kernel_names
from enterprise_gateway.launch.namespace import choose_namespace, namespace_document, role_binding
from enterprise_gateway.launch.pod import (
    MountedSecret,
    ObjectMetadata,
    check_pod,
    complete_pod,
    owned_documents,
    split_documents,
)
from enterprise_gateway.launch.policy import Policy, check_request
from enterprise_gateway.launch.pool import fingerprint, obstacle
from enterprise_gateway.launch.pool_size import PoolSize
from enterprise_gateway.launch.proxy_ports import with_proxy_ports
from enterprise_gateway.launch.request import LaunchRequest
from enterprise_gateway.launch.secret import kernel_secret
from enterprise_gateway.launch.spark import driver_variables
from enterprise_gateway.launch.template import PodTemplate, render
from enterprise_gateway_common import labels
from enterprise_gateway_common.connection import CONNECTION_FILE, EXECUTOR_TEMPLATE

__all__ = ["LaunchPlan", "LaunchSettings", "build_plan"]

_CLUSTER_ADMIN = "cluster-admin"


@dataclass(frozen=True, kw_only=True)
class LaunchSettings:
    """What the administrator says of all kernels."""

    instance: str = "enterprise-gateway"
    """Keeps the kernels of two installations in one cluster apart."""
    gateway_namespace: str | None = None
    gateway_service_account: str | None = None
    shared_namespace: str | None = None
    """Where all kernels run; `None` gives each a namespace of its own."""
    namespaces: tuple[str, ...] = ()
    """As above where there are several: a client names one, and gets the first where it names none."""
    spark_namespace: str | None = None
    """Where kernels that start pods run, and no others; `None` for a namespace of their own, where kernels have that."""
    default_service_account: str = "default"
    kernel_cluster_role: str | None = "kernel-controller"
    """Role that the service account of a kernel that starts pods gets in a namespace of its own; `None` for none."""
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets of the gateway's namespace that namespaces of kernels get copies of."""
    default_image: str | None = None
    mirror_working_dirs: bool = False
    pools: Mapping[str, PoolSize] = field(default_factory=dict)
    """How many pods wait for a start, by kernelspec; those that it doesn't name say it themselves."""

    def __post_init__(self) -> None:
        if self.kernel_cluster_role == _CLUSTER_ADMIN:
            raise ValueError("Kernels can't be given the role cluster-admin.")

    @property
    def only_namespaces(self) -> tuple[str, ...]:
        """The namespaces that kernels run in; nothing where each gets one of its own."""
        return self.namespaces or ((self.shared_namespace,) if self.shared_namespace is not None else ())

    @property
    def watched_namespaces(self) -> tuple[str, ...]:
        """The namespaces that may hold kernels; nothing where any may."""
        own = () if self.spark_namespace is None else (self.spark_namespace,)
        return (*self.only_namespaces, *own) if self.only_namespaces else ()


@dataclass(frozen=True, kw_only=True)
class LaunchPlan:
    """The objects of one start in the order in which they are made."""

    kernel_id: str
    launch_id: str
    names: KernelNames
    namespace: str
    namespace_document: Mapping[str, Any] | None
    """The namespace to make; `None` where the kernel runs in one that exists."""
    role_binding: Mapping[str, Any] | None
    pull_secrets: tuple[str, ...]
    """Secrets to copy into the namespace that is made."""
    secret: Mapping[str, Any]
    documents: tuple[Mapping[str, Any], ...]
    """The template's other objects; the pod will own them."""
    pod: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    """What pods have in common that the start could have in place of its own; empty where nobody asked."""
    pool_obstacle: str | None = None
    """Why it can have no other pod than its own; `None` where it could."""


def build_plan(  # noqa: PLR0913  each is a fact of its own, named at every call
    *,
    request: LaunchRequest,
    policy: Policy,
    settings: LaunchSettings,
    template: PodTemplate,
    executor_template: PodTemplate | None = None,
    command: Sequence[str] | None,
    connection_file: str | None,
    facts: Mapping[str, str],
    launch_id: str,
    warm_nodes: Sequence[str] = (),
    gateway_key: str | None = None,
    pool_connection: str | None = None,
) -> LaunchPlan:
    """Return what a start will create.

    Parameters
    ----------
    executor_template
        The kernelspec's, of the pods that its kernels start; `None` where it has none.
    connection_file
        Text of the connection file to mount; `None` where the kernel tells its own connection.
    facts
        Variables that only this start's pod gets beside the request's environment.
    launch_id
        Tells this start of the kernel from its earlier ones.
    warm_nodes
        Nodes that have the kernel's image, which the pod prefers.
    gateway_key
        What gateways are let in by, kept where the pod doesn't see it; `None` where nothing asks for it.
    pool_connection
        What pods of a pool must have in their connection files beside keys; `None` where the kernelspec has no pool.

    Raises
    ------
    PolicyViolation
        Something isn't allowed.
    LaunchFailed
        The kernelspec can't be used.
    """
    check_request(
        request,
        _with_own_namespaces(policy, settings),
        gateway_namespace=settings.gateway_namespace,
        gateway_service_account=settings.gateway_service_account,
    )
    names = kernel_names(request, launch_id=launch_id)
    place = choose_namespace(
        request,
        own_namespace=names.own_namespace,
        only=settings.only_namespaces,
        default_service_account=settings.default_service_account,
        gateway_namespace=settings.gateway_namespace,
        spark_namespace=settings.spark_namespace,
    )
    variables = {
        **request.template_variables(),
        "kernel_pod_name": names.pod,
        "kernel_namespace": place.name,
        "kernel_service_account_name": place.service_account,
    }
    pod_template, others = split_documents(render(template, variables))
    described = annotations(request, own_namespace=place.create)
    labelled = kernel_labels(request, instance=settings.instance, launch_id=launch_id, component=labels.COMPONENT_KERNEL)
    own = (
        driver_variables(request, pod=names.pod, namespace=place.name, service_account=place.service_account)
        if request.kernel.starts_pods
        else {}
    )
    metadata = ObjectMetadata(name=names.pod, namespace=place.name, labels=labelled, annotations=described)
    executor = (
        executor_pod(
            executor_template,
            variables,
            of_kernel=labelled,
            pull_secrets=settings.image_pull_secrets,
            node_selector=request.kernel.node_selector,
        )
        if request.kernel.starts_pods
        else None
    )
    mounted = [
        *([CONNECTION_FILE] if connection_file is not None else []),
        *([EXECUTOR_TEMPLATE] if executor is not None else []),
    ]
    pod = complete_pod(
        pod_template,
        metadata=metadata,
        environment={**request.environment, **facts, **own},
        command=command,
        service_account=place.service_account,
        secret=MountedSecret(name=names.secret, keys=mounted),
        pull_secrets=settings.image_pull_secrets,
        node_selector=request.kernel.node_selector,
        image_pull_policy=request.kernel.image_pull_policy,
        starts_pods=request.kernel.starts_pods,
    )
    pod = with_proxy_ports(pod, request.kernel.proxy_ports)
    pool_obstacle, same = None, ""
    if pool_connection is not None:
        pool_obstacle = obstacle(
            request, pod, own_namespace=place.create, makes_others=bool(others), supervised=gateway_key is not None
        )
        same = fingerprint(pod, kernel_id=request.kernel.kernel_id, connection=pool_connection)
        pod["metadata"]["labels"] = {**pod["metadata"]["labels"], labels.POOL_FINGERPRINT: same}
    pod = {**pod, "spec": prefer_nodes(pod["spec"], warm_nodes)}
    check_pod(pod, gateway_namespace=settings.gateway_namespace, gateway_service_account=settings.gateway_service_account)
    if executor is not None:
        check_executor(executor, kernel_pod=pod)
    secret = kernel_secret(
        name=names.secret,
        namespace=place.name,
        labels=labelled,
        annotations=described,
        connection_file=connection_file,
        environment=request.environment,
        judged=request.judged_names,
        gateway_key=gateway_key,
        executor_template=executor,
    )
    _check_sizes(secret, pod)
    binding = None
    if place.create and request.kernel.starts_pods and settings.kernel_cluster_role:
        binding = role_binding(
            cluster_role=settings.kernel_cluster_role,
            namespace=place.name,
            service_account=place.service_account,
            labels=labelled,
        )
    return LaunchPlan(
        kernel_id=request.kernel.kernel_id,
        launch_id=launch_id,
        names=names,
        namespace=place.name,
        namespace_document=namespace_document(name=place.name, labels=labelled, annotations=described) if place.create else None,
        role_binding=binding,
        pull_secrets=settings.image_pull_secrets if place.create else (),
        secret=secret,
        documents=tuple(owned_documents(others, metadata=metadata)),
        pod=pod,
        labels=labelled,
        fingerprint=same,
        pool_obstacle=pool_obstacle,
    )


def _with_own_namespaces(policy: Policy, settings: LaunchSettings) -> Policy:
    """Return a policy that allows the namespaces that the settings name: the administrator's word already."""
    spark = () if settings.spark_namespace is None else (settings.spark_namespace,)
    return msgspec.structs.replace(
        policy,
        namespaces=(*policy.namespaces, *settings.namespaces, *spark),
        spark_namespaces=(*policy.spark_namespaces, *settings.namespaces, *spark),
    )


_MAXIMUM_SECRET = 1024 * 1024


def _check_sizes(secret: Mapping[str, Any], pod: Mapping[str, Any]) -> None:
    # The API server's own refusal comes after the namespace exists, and is harder to read.
    size = sum(len(text) for text in secret["data"].values()) * 3 // 4
    environment = sum(len(entry.get("value") or "") for entry in pod["spec"]["containers"][0]["env"])
    if max(size, environment) > _MAXIMUM_SECRET:
        raise LaunchRefused("The kernel's environment is larger than Kubernetes can keep (1 MiB).", code=422)
