"""What keeps a gateway from taking requests: told by whoever finds out, asked by its probes."""

from enterprise_gateway.cluster.connection import ClusterConnection
from enterprise_gateway.kernels.registry import Kernels
from enterprise_gateway.replicas.cluster_sync import ClusterSync

__all__ = ["Readiness"]


class Readiness:
    """Knows whether the gateway can take requests.

    Parameters
    ----------
    kernels, sync, cluster
        Asked each time.
    """

    def __init__(self, *, kernels: Kernels, sync: ClusterSync, cluster: ClusterConnection) -> None:
        self._kernels = kernels
        self._sync = sync
        self._cluster = cluster
        self.kernelspecs_read = False
        """Whether all kernelspecs were read once."""
        self.kernels_found = False
        """Whether the kernels of the cluster were found, or nobody needs a cluster."""
        self._broken: list[str] = []

    def broke(self, part: str) -> None:
        """Take note that a part is gone without which the gateway doesn't work."""
        self._broken.append(part)

    def problems(self) -> list[str]:
        """Return what keeps the gateway from taking requests; nothing when it is ready."""
        problems = []
        if self._kernels.draining:
            problems.append("the gateway is shutting down")
        if not self.kernelspecs_read:
            problems.append("the kernelspecs haven't been read yet")
        if not self.kernels_found or self._sync.pending:
            problems.append("the kernels of the cluster haven't been found yet")
        problems += [f"a part of the gateway was ended by an error: {part}" for part in self._broken]
        problems += self._cluster.problems()
        return problems
