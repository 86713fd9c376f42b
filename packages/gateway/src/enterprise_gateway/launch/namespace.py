"""Where a kernel runs, and what a namespace that is made for it needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from enterprise_gateway.errors import LaunchFailed, PolicyViolation
from enterprise_gateway.launch.policy import SYSTEM_NAMESPACE_PREFIX
from enterprise_gateway.launch.request import LaunchRequest

__all__ = ["NamespaceChoice", "choose_namespace", "namespace_document", "role_binding"]

_DEFAULT_SERVICE_ACCOUNT = "default"


@dataclass(frozen=True, kw_only=True)
class NamespaceChoice:
    """The namespace of a kernel."""

    name: str
    create: bool
    """Whether it is made for this kernel, and so ends with it."""
    service_account: str


def choose_namespace(
    request: LaunchRequest,
    *,
    own_namespace: str,
    only: Sequence[str],
    default_service_account: str,
    gateway_namespace: str | None = None,
    spark_namespace: str | None = None,
) -> NamespaceChoice:
    """Return where a kernel runs: where its variables say, else in the first of those that there are, else in one of its own.

    A kernel that starts pods never runs in a namespace that others share but for `spark_namespace`, where no other kernel runs.

    Parameters
    ----------
    only
        The namespaces that kernels may run in and that exist; nothing where each kernel gets its own.
    gateway_namespace
        Where no kernel runs unless it is one of them: a user's name that a kernelspec makes a namespace of may be any.
    spark_namespace
        Where kernels that start pods run; `None` where there is no such namespace.

    Raises
    ------
    LaunchFailed
        A service account is asked for that can't exist in a namespace that is yet to be made, or the kernelspec names a
        namespace that kernels can't have.
    PolicyViolation
        The client names another namespace than there are: the gateway neither sees nor needs rights in others. Or the kernel
        starts pods, and there are only namespaces that kernels share.
    """
    wanted, by_client = request.wanted, request.judged.namespace is not None
    account, namespace = wanted.service_account or default_service_account, wanted.namespace
    if request.kernel.starts_pods:
        only = _places_of_drivers(only, spark_namespace)
    elif namespace is not None and namespace == spark_namespace:
        raise _misplaced(f"only kernels that start pods (Spark) run in {spark_namespace}.", by_client=by_client)
    if only and namespace not in {None, *only}:
        raise _misplaced(f"kernels of this {_of_what(request)} run in {' or '.join(only)} only.", by_client=by_client)
    if not only and namespace is not None and (namespace == gateway_namespace or namespace.startswith(SYSTEM_NAMESPACE_PREFIX)):
        raise LaunchFailed(
            "The kernelspec's env can't be used: KERNEL_NAMESPACE names the gateway's own namespace or one of the system's."
        )
    if namespace is None and not only and request.kernel.starts_pods:
        namespace = spark_namespace
    if namespace is not None or only:
        return NamespaceChoice(name=namespace or only[0], create=False, service_account=account)
    if wanted.service_account not in {None, _DEFAULT_SERVICE_ACCOUNT}:
        raise LaunchFailed(
            "KERNEL_SERVICE_ACCOUNT_NAME needs KERNEL_NAMESPACE: a namespace that is made for a kernel has only the "
            "service account `default`."
        )
    return NamespaceChoice(name=own_namespace, create=True, service_account=_DEFAULT_SERVICE_ACCOUNT)


def _places_of_drivers(only: Sequence[str], spark_namespace: str | None) -> Sequence[str]:
    """Return the namespaces of which kernels that start pods must have one; nothing where each may have its own."""
    if not only:
        return ()
    if spark_namespace is None:
        # By its account such a kernel could read the keys of all others there.
        raise PolicyViolation(
            "Kernels of this kernelspec start pods of their own (Spark), so they can't run in a namespace that other kernels "
            "share, and here all do. The administrator can name a namespace for them: EG_SPARK_NAMESPACE."
        )
    return (spark_namespace,)


def _of_what(request: LaunchRequest) -> str:
    return "kernelspec" if request.kernel.starts_pods else "gateway"


def _misplaced(words: str, *, by_client: bool) -> LaunchFailed | PolicyViolation:
    told = f"KERNEL_NAMESPACE: {words}"
    return PolicyViolation(told) if by_client else LaunchFailed(f"The kernelspec's env can't be used: {told}")


def namespace_document(*, name: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> dict[str, Any]:
    """Return the namespace that is made for a kernel."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": dict(labels), "annotations": dict(annotations)},
    }


def role_binding(*, cluster_role: str, namespace: str, service_account: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return what lets a kernel that starts pods, as Spark's drivers do, act in its own namespace."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": cluster_role, "namespace": namespace, "labels": dict(labels)},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": cluster_role},
        "subjects": [{"kind": "ServiceAccount", "name": service_account, "namespace": namespace}],
    }
