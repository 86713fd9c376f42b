"""The services of a cluster for programs that hand none in, such as a plain Jupyter Server: made once for an event loop.

Such a program has no settings of ours, so they are read from its environment, from the same table as the gateway's.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from weakref import WeakKeyDictionary

from enterprise_gateway.cluster.api.connect import check_cluster_settings, connect, find_cluster
from enterprise_gateway.cluster.options import cluster_options
from enterprise_gateway.cluster.services import ClusterServices, Responses
from enterprise_gateway.errors import NotSupported
from enterprise_gateway.launch.policy import open_policy
from enterprise_gateway.settings import GatewaySettings
from enterprise_gateway_common.environment import read_environment

__all__ = ["SharedServices", "plain_settings", "shared_services"]

_log = logging.getLogger(__name__)

# jupyter_client makes provisioners by their entry point and hands nothing in; an event loop is what they have in common.
_by_loop: "WeakKeyDictionary[asyncio.AbstractEventLoop, SharedServices]" = WeakKeyDictionary()

# No gateway is to take these kernels for its own, and nobody has installed the gateway's cluster role.
_PLAIN_DEFAULTS: Mapping[str, str | None] = {"instance_name": "jupyter", "kernel_cluster_role": None}


class SharedServices:
    """Services that end with the last kernel that uses them."""

    def __init__(self, services: ClusterServices) -> None:
        self.services = services
        self.users = 0

    async def release(self) -> None:
        """Give up one use."""
        self.users -= 1
        if self.users == 0:
            _by_loop.pop(asyncio.get_running_loop(), None)
            await self.services.stop()


async def shared_services(
    environment: Mapping[str, str], *, make_responses: Callable[[GatewaySettings], Responses]
) -> SharedServices:
    """Return the services of this event loop's cluster; give them back by `release`.

    Parameters
    ----------
    environment
        Where the settings stand, and the way to the cluster.
    make_responses
        Makes who takes the connections of kernels that tell them.

    Raises
    ------
    NotSupported
        There is no cluster, or the settings can't be used.
    """
    loop = asyncio.get_running_loop()
    shared = _by_loop.get(loop)
    if shared is None:
        services = await _make_services(environment, make_responses)
        shared = _by_loop.get(loop)
        if shared is None:
            shared = _by_loop[loop] = SharedServices(services)
            services.start()
        else:
            await services.stop()
    shared.users += 1
    return shared


def plain_settings(environment: Mapping[str, str]) -> GatewaySettings:
    """Return the settings of a program that isn't the gateway.

    Raises
    ------
    ValueError
        One can't be used; the text names it.
    """
    found = read_environment(GatewaySettings, environment)
    for warning in found.warnings:
        _log.warning("%s", warning)
    settings = GatewaySettings(**{**_PLAIN_DEFAULTS, **found.values})
    check_cluster_settings(settings)
    return settings


async def _make_services(
    environment: Mapping[str, str], make_responses: Callable[[GatewaySettings], Responses]
) -> ClusterServices:
    try:
        settings = plain_settings(environment)
        options, policy = cluster_options(settings), open_policy(settings.policy_file)
    except ValueError as error:
        # Its words may name a path of this machine, or quote a value.
        _log.error("A setting in the environment can't be used; no kernel runs in a pod", extra={"cause": str(error)})
        raise NotSupported(
            "Kernels can't run in pods: a setting in the environment of this server can't be used. Its log names the setting."
        ) from error
    cluster = None if settings.kubernetes == "off" else find_cluster(environment, kubeconfig=settings.kubeconfig)
    if cluster is None:
        raise NotSupported("There is no cluster to run the kernel in: KUBECONFIG isn't set and this isn't a pod.")
    return ClusterServices(client=await connect(cluster), policy=policy, options=options, responses=make_responses(settings))
