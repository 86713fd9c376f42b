"""Whose kernels the pods of a cluster are."""

import uuid
from collections.abc import Iterable, Mapping

from enterprise_gateway.cluster.connection import ClusterConnection
from enterprise_gateway.cluster.pods.annotations import ending_of
from enterprise_gateway.cluster.pods.state import PodState
from enterprise_gateway.replicas.cluster_sync import ClusterSync
from enterprise_gateway_common import labels
from enterprise_gateway_common.names import kernel_object_name

__all__ = ["ClusterOwners", "is_kernel_id", "owners_of"]


class ClusterOwners:
    """Whose kernels the cluster has pods for, whichever replica made them.

    Parameters
    ----------
    cluster
        Where the kernels are.
    sync
        Tells whether all of them are known.
    """

    def __init__(self, *, cluster: ClusterConnection, sync: ClusterSync) -> None:
        self._cluster = cluster
        self._sync = sync

    @property
    def in_order(self) -> bool:
        """Whether changes are told in the order in which they came about."""
        return self._cluster.connected and self._cluster.services.pods.in_order

    def check_synced(self) -> None:
        """Return where every kernel of the cluster is known.

        Raises
        ------
        ClusterNotSynced
            There may be others.
        """
        self._sync.check()

    def owners(self) -> Mapping[str, str]:
        """Return the owner of every kernel that the cluster has a pod for, by the kernel's id."""
        return owners_of(self._cluster.services.pods.objects.values()) if self._cluster.connected else {}

    async def owners_now(self) -> Mapping[str, str]:
        """Return the same as the API server knows it this moment.

        Raises
        ------
        KubernetesError
            It can't be asked.
        """
        return owners_of(await self._cluster.services.store.all_pods())


def is_kernel_id(text: str) -> bool:
    """Tell whether a text is a UUID in its usual form, as all ids of kernels are."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def owners_of(pods: Iterable[PodState]) -> Mapping[str, str]:
    """Return the owners of kernels; what a kernel put beside itself into its own namespace is nobody's kernel."""
    present = [(pod, _owner(pod), _is_at_home(pod)) for pod in pods]
    homes = {pod.namespace for pod, _, at_home in present if at_home}
    return {
        pod.kernel_id: owner for pod, owner, at_home in present if _has_a_place(pod) and (at_home or pod.namespace not in homes)
    }


def _owner(pod: PodState) -> str:
    return pod.annotations.get(labels.USERNAME_ANNOTATION, "")


def _is_at_home(pod: PodState) -> bool:
    """Tell whether a pod's namespace is the one that is made for its kernel; a kernel can't choose its namespace's name."""
    return is_kernel_id(pod.kernel_id) and pod.namespace == kernel_object_name(_owner(pod), pod.kernel_id)


def _has_a_place(pod: PodState) -> bool:
    return not pod.deleting and not (pod.ended and ending_of(pod) is not None)
