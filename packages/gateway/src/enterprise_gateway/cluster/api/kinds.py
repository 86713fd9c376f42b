"""Where the API server keeps the kinds of objects that the gateway deals with."""

from typing import NamedTuple
from urllib.parse import quote

__all__ = ["path"]


class _Place(NamedTuple):
    root: str
    plural: str
    namespaced: bool = True


_PLACES = {
    "ConfigMap": _Place("/api/v1", "configmaps"),
    "Event": _Place("/api/v1", "events"),
    "Lease": _Place("/apis/coordination.k8s.io/v1", "leases"),
    "Namespace": _Place("/api/v1", "namespaces", namespaced=False),
    "PersistentVolumeClaim": _Place("/api/v1", "persistentvolumeclaims"),
    "Pod": _Place("/api/v1", "pods"),
    "RoleBinding": _Place("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "Secret": _Place("/api/v1", "secrets"),
    "Service": _Place("/api/v1", "services"),
}


def path(kind: str, namespace: str | None = None, name: str | None = None) -> str:
    """Return the path of an object, or of all objects of a kind in a namespace or in all of them."""
    place = _PLACES[kind]
    middle = f"/namespaces/{quote(namespace, safe='')}" if namespace and place.namespaced else ""
    end = f"/{quote(name, safe='')}" if name else ""
    return f"{place.root}{middle}/{place.plural}{end}"
