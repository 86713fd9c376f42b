"""What all kernels of one process share of a cluster: its connection, the picture of the kernels' pods and the rules."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field

from enterprise_gateway.cluster.client import ClusterClient
from enterprise_gateway.cluster.deadline import Deadline
from enterprise_gateway.cluster.diagnosis import Graces
from enterprise_gateway.cluster.informer import Informer
from enterprise_gateway.cluster.pods import PodState, pod_state
from enterprise_gateway.cluster.start import ObjectMaker
from enterprise_gateway.cluster.store import KernelStore
from enterprise_gateway.launch.plan import LaunchSettings
from enterprise_gateway.launch.policy import PolicyFile
from enterprise_gateway_common import labels

__all__ = ["ClusterOptions", "ClusterServices"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """How a process uses a cluster."""

    launch: LaunchSettings = field(default_factory=LaunchSettings)
    graces: Graces = field(default_factory=Graces)
    launch_timeout: float = 60.0
    """Seconds for a start that names none."""
    watched_namespace: str | None = None
    """The only namespace to watch, where the gateway has rights in no other; `None` for all."""
    pass_environment: frozenset[str] = frozenset()
    """Names that kernels get beside KERNEL_* and the kernelspec's; `*` where the whole environment was composed for them."""


class ClusterServices:
    """One cluster, for as long as the process uses it. Call `start` before and `stop` after everything else."""

    def __init__(self, *, client: ClusterClient, policy: PolicyFile, options: ClusterOptions) -> None:
        self.client = client
        self.policy = policy
        self.options = options
        selector = ",".join(
            f"{name}={value}"
            for name, value in (
                (labels.APP, labels.APP_VALUE),
                (labels.COMPONENT, labels.COMPONENT_KERNEL),
                (labels.INSTANCE, options.launch.instance),
            )
        )
        self.pods: Informer[PodState] = Informer(
            client=client, kind="Pod", namespace=options.watched_namespace, label_selector=selector, convert=pod_state
        )
        self.maker = ObjectMaker(client=client, gateway_namespace=options.launch.gateway_namespace)
        self.store = KernelStore(client=client, pods=self.pods, label_selector=selector, namespace=options.watched_namespace)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch; `ready` tells when the first picture is there."""
        if self._task is None:
            self._task = asyncio.create_task(self.pods.run(), name="watch of kernels' pods")

    async def ready(self, seconds: float) -> None:
        """Return when the kernels' pods are known.

        Raises
        ------
        KubernetesUnavailable
            They aren't in time.
        """
        await self.pods.wait_synced(Deadline(seconds))

    async def stop(self) -> None:
        """Stop watching and close the connections; kernels live on."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self.client.close()

    def problems(self) -> list[str]:
        """Return why starts can't be served now; the texts are for the operator."""
        return [f"Kubernetes: {self.pods.trouble}"] if self.pods.trouble else []
