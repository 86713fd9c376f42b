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
) -> NamespaceChoice:
    """Return where a kernel runs: where its variables say, else in the first of those that there are, else in one of its own.

    Parameters
    ----------
    only
        The namespaces that kernels may run in and that exist; nothing where each kernel gets its own.
    gateway_namespace
        Where no kernel runs unless it is one of them: a user's name that a kernelspec makes a namespace of may be any.

    Raises
    ------
    LaunchFailed
        A service account is asked for that can't exist in a namespace that is yet to be made, or the kernelspec names a
        namespace that kernels can't have.
    PolicyViolation
        The client names another namespace than there are: the gateway neither sees nor needs rights in others.
    """
    wanted, by_client = request.wanted, request.judged.namespace is not None
    account, namespace = wanted.service_account or default_service_account, wanted.namespace
    if only and namespace not in {None, *only}:
        words = f"KERNEL_NAMESPACE: kernels of this gateway run in {' or '.join(only)} only."
        raise PolicyViolation(words) if by_client else LaunchFailed(f"The kernelspec's env can't be used: {words}")
    if not only and namespace is not None and (namespace == gateway_namespace or namespace.startswith(SYSTEM_NAMESPACE_PREFIX)):
        raise LaunchFailed(
            "The kernelspec's env can't be used: KERNEL_NAMESPACE names the gateway's own namespace or one of the system's."
        )
    if namespace is not None or only:
        return NamespaceChoice(name=namespace or only[0], create=False, service_account=account)
    if wanted.service_account not in {None, _DEFAULT_SERVICE_ACCOUNT}:
        raise LaunchFailed(
            "KERNEL_SERVICE_ACCOUNT_NAME needs KERNEL_NAMESPACE: a namespace that is made for a kernel has only the "
            "service account `default`."
        )
    return NamespaceChoice(name=own_namespace, create=True, service_account=_DEFAULT_SERVICE_ACCOUNT)


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
