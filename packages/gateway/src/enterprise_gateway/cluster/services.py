"""What all kernels of one process share of a cluster: its connection, the cache of the kernels' pods and the rules."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from enterprise_gateway.cluster.api.client import ClusterClient
from enterprise_gateway.cluster.leadership.leader import Leadership
from enterprise_gateway.cluster.objects.removal import Removal
from enterprise_gateway.cluster.objects.start import ObjectMaker
from enterprise_gateway.cluster.objects.store import KernelStore
from enterprise_gateway.cluster.pods.diagnosis import Graces
from enterprise_gateway.cluster.pods.kernel_pods import KernelPods
from enterprise_gateway.cluster.pods.loss import LossDetector
from enterprise_gateway.cluster.pods.pool import PoolPods
from enterprise_gateway.cluster.pods.pullers import PULLER_SELECTOR, PullerState, nodes_with, puller_state
from enterprise_gateway.cluster.pods.state import PodState, pod_state
from enterprise_gateway.cluster.watch.informer import Cache, Informer
from enterprise_gateway.cluster.watch.joined_cache import JoinedCache
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import NotSupported
from enterprise_gateway.launch.environment import EnvironmentRules, environment_rules
from enterprise_gateway.launch.plan import LaunchSettings
from enterprise_gateway.launch.policy import PolicyFile
from enterprise_gateway.settings import GatewaySettings
from enterprise_gateway_common import labels
from enterprise_gateway_common.image_reference import parse_image_reference
from enterprise_gateway_common.node_images import NodeImages

__all__ = ["ClusterOptions", "ClusterServices", "Responses"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """How a process uses a cluster."""

    launch: LaunchSettings = field(default_factory=LaunchSettings)
    graces: Graces = field(default_factory=Graces)
    launch_timeout: float = 60.0
    """Seconds for a start that names none, where nobody hands a deadline down."""
    max_launch_timeout: float = 900.0
    """The most that such a start can ask for."""
    environment: EnvironmentRules = field(default_factory=lambda: environment_rules(GatewaySettings()))
    """What reaches kernels, where nobody hands a request down that was read already."""
    node_loss_grace: float = 30.0
    """Seconds for which a kernel may be silent whose node is."""
    watched_namespaces: tuple[str, ...] = ()
    """The only namespaces to watch, where the gateway has rights in no other; nothing for all."""
    puller_namespaces: tuple[str, ...] = ()
    """The only namespaces whose pullers are believed; nothing for all."""


class Responses(Protocol):
    """Takes the connections of kernels that choose their own ports and tell them."""

    async def start(self) -> None:
        """Begin to listen; does nothing the second time."""

    async def stop(self) -> None:
        """Stop listening; does nothing where nobody listens."""

    @property
    def response_address(self) -> str:
        """Where kernels are told to send their connection."""

    @property
    def public_key(self) -> str:
        """What they encrypt it with."""

    def expect(self, kernel_id: str, *, foreign: Callable[[str], bool]) -> asyncio.Future[dict[str, Any]]:
        """Return what will hold the connection of a kernel; what comes from an address that is foreign isn't it."""

    def forget(self, kernel_id: str) -> None:
        """Wait for a kernel no longer."""


class ClusterServices:
    """One cluster, for as long as the process uses it. Call `start` before and `stop` after everything else.

    Parameters
    ----------
    responses
        For kernels with older launchers; `None` refuses kernelspecs that need it. It listens from the first such start on.
    leadership
        Tells whether this process does what one of several does for all; where nothing is handed in, it is the only one.
    """

    def __init__(
        self,
        *,
        client: ClusterClient,
        policy: PolicyFile,
        options: ClusterOptions,
        responses: Responses | None = None,
        leadership: Leadership | None = None,
    ) -> None:
        self._responses = responses
        self.leadership = leadership or Leadership(lease=None)
        self.client = client
        self.policy = policy
        self.options = options
        selector = _selector(labels.COMPONENT_KERNEL, options.launch.instance)
        only = options.watched_namespaces
        self.pods: Cache[PodState] = JoinedCache(
            [
                Informer(client=client, kind="Pod", namespace=namespace, label_selector=selector, convert=pod_state)
                for namespace in only or (None,)
            ]
        )
        self.removal = Removal(client=client)
        self.maker = ObjectMaker(client=client, removal=self.removal, gateway_namespace=options.launch.gateway_namespace)
        self.store = KernelStore(client=client, pods=self.pods, label_selector=selector, namespaces=only)
        self.pullers: Cache[PullerState] = JoinedCache(
            [
                Informer(client=client, kind="Pod", namespace=namespace, label_selector=PULLER_SELECTOR, convert=puller_state)
                for namespace in options.puller_namespaces or (None,)
            ]
        )
        pool_selector = _selector(labels.COMPONENT_POOL, options.launch.instance)
        pool_namespaces = options.launch.only_namespaces
        pool_pods: Cache[PodState] = JoinedCache(
            [
                Informer(client=client, kind="Pod", namespace=namespace, label_selector=pool_selector, convert=pod_state)
                for namespace in pool_namespaces or (None,)
            ]
        )
        self.pool = PoolPods(client=client, pods=pool_pods, label_selector=pool_selector, namespaces=pool_namespaces)
        self._identity = secrets.token_hex(4)
        self._turn = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self.watches_pool = False
        """Whether anybody has asked for `watch_pool`."""

    def start(self) -> None:
        """Begin to watch; `ready` tells when the cache is complete."""
        self.leadership.start()
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self.pods.run(), name="watch of kernels' pods"),
                asyncio.create_task(self.pullers.run(), name="watch of image pullers"),
            ]

    def watch_pool(self) -> None:
        """Begin to watch pods in waiting; does nothing the second time. Whoever has no pool isn't made to watch any."""
        if self._tasks and not self.watches_pool:
            self.watches_pool = True
            self._tasks.append(asyncio.create_task(self.pool.pods.run(), name="watch of pods in waiting"))

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
        await self.leadership.stop()
        if self._responses is not None:
            await self._responses.stop()
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._tasks, self.watches_pool = [], False
        await self.removal.stop()
        await self.client.close()

    async def turn(self) -> None:
        """Return when the caller may occupy the process for some milliseconds.

        Of many starts at once each gets a turn of its own, and whatever else there is to do is done between two of them.
        """
        async with self._turn:
            await asyncio.sleep(0)

    def pods_of(self, kernel_id: str, *, answers: Callable[[], Awaitable[bool]]) -> KernelPods:
        """Return what follows the pods of one kernel; it follows none yet.

        Parameters
        ----------
        answers
            Asks the kernel itself; tells within some seconds whether it answers.
        """
        detector = LossDetector(
            answers=answers, leadership=self.leadership, grace=self.options.node_loss_grace, identity=self._identity
        )
        return KernelPods(kernel_id=kernel_id, informer=self.pods, store=self.store, removal=self.removal, loss_detector=detector)

    async def listen(self) -> Responses:
        """Return who takes the connections of kernels that tell them, listening.

        Raises
        ------
        NotSupported
            Nobody does here.
        Unavailable
            No port can be had.
        """
        if self._responses is None:
            raise NotSupported("The kernelspec's launcher tells its connection to the gateway, and nothing listens for it here.")
        await self._responses.start()
        return self._responses

    def node_images(self) -> list[NodeImages]:
        """Return what the image pullers say of their nodes."""
        return [puller.images for puller in self.pullers.objects.values() if puller.images is not None]

    def nodes_with(self, image: str) -> list[str]:
        """Return the nodes that have an image, as far as image pullers say."""
        return nodes_with(str(parse_image_reference(image)), self.pullers.objects)

    def problems(self) -> list[str]:
        """Return why starts can't be served now; the texts are for the operator."""
        return [f"Kubernetes: {self.pods.trouble}"] if self.pods.trouble else []


def _selector(component: str, instance: str) -> str:
    return f"{labels.APP}={labels.APP_VALUE},{labels.COMPONENT}={component},{labels.INSTANCE}={instance}"
