"""The gateway's connection to its cluster: made when the first kernel needs it, shared by all."""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Literal

from enterprise_gateway.cluster.api.connect import find_cluster
from enterprise_gateway.errors import NotSupported
from enterprise_gateway_common.node_images import NodeImages

if TYPE_CHECKING:
    # With the Kubernetes client and the templates; a gateway that needs no cluster doesn't load them.
    from enterprise_gateway.cluster.services import ClusterServices

__all__ = ["ClusterConnection", "ClusterMode"]

_log = logging.getLogger(__name__)

ClusterMode = Literal["auto", "on", "off"]


class ClusterConnection:
    """Knows the services of a cluster, once there is a need for one.

    Parameters
    ----------
    mode
        `off` for no cluster, `on` to connect at the start, `auto` to connect when a kernelspec asks for pods.
    kubeconfig
        The kubeconfig that a setting names.
    environment
        Where KUBECONFIG and the signs of being a pod stand.
    make_services
        Makes the services of the cluster that was found.
    """

    def __init__(
        self,
        *,
        mode: ClusterMode,
        kubeconfig: str | None,
        environment: Mapping[str, str],
        make_services: "Callable[[str], Awaitable[ClusterServices]]",
    ) -> None:
        self.mode = mode
        self._kubeconfig = kubeconfig
        self._environment = environment
        self._make_services = make_services
        self._services: ClusterServices | None = None
        self._opening = asyncio.Lock()

    @property
    def services(self) -> "ClusterServices":
        """The services of the cluster.

        Raises
        ------
        NotSupported
            There is no connection.
        """
        if self._services is None:
            raise NotSupported("This gateway has no connection to a Kubernetes cluster.")
        return self._services

    @property
    def may_exist(self) -> bool:
        """Whether there may be a cluster: the administrator doesn't rule it out, and there is something to reach it with."""
        return self.mode == "on" or self._found() is not None

    def _found(self) -> str | None:
        return None if self.mode == "off" else find_cluster(self._environment, kubeconfig=self._kubeconfig)

    @property
    def connected(self) -> bool:
        """Whether there are services."""
        return self._services is not None

    async def open(self) -> "ClusterServices":
        """Return the services; connect where nobody has yet.

        Raises
        ------
        NotSupported
            There is no cluster, or the administrator wants none.
        Unavailable
            Its configuration can't be used.
        """
        async with self._opening:
            if self._services is None:
                cluster = self._found()
                if cluster is None:
                    raise NotSupported(
                        "The kernelspec runs kernels in a Kubernetes cluster, and this gateway has none. Its administrator can "
                        "set KUBECONFIG or run it in a cluster."
                    )
                services = await self._make_services(cluster)
                # The Kubernetes client has two hundred thousand objects, and they stay to the end. A collection that looks at
                # all of them again holds up every message for a tenth of a second. Kernels come later, and are collected.
                gc.freeze()
                services.start()
                self._services = services
                _log.info("Connected to a cluster", extra={"instance": services.options.launch.instance})
        return self._services

    @property
    def leads(self) -> bool:
        """Whether this process does what one of several does for all; without a cluster there is nobody else."""
        return self._services is None or self._services.leadership.leads

    def may_act(self, *, started_here: bool) -> bool:
        """Tell whether this process may act on a kernel of the cluster now."""
        return self.services.leadership.may_act(started_here=started_here)

    async def wait_to_act(self, *, started_here: bool) -> None:
        """Return when this process may act on a kernel of the cluster."""
        await self.services.leadership.wait_to_act(started_here=started_here)

    async def step_down(self) -> None:
        """Let another replica act from now on."""
        if self._services is not None:
            await self._services.leadership.stop()

    async def close(self) -> None:
        """Give up the connection; kernels in the cluster live on."""
        if self._services is not None:
            await self._services.stop()

    def node_images(self) -> list[NodeImages]:
        """Return what the image pullers say of their nodes; nothing where there is no connection."""
        return [] if self._services is None else self._services.node_images()

    def problems(self) -> list[str]:
        """Return why starts in the cluster can't be served now."""
        return [] if self._services is None else self._services.problems()
