"""The services of a cluster for programs that hand none in, such as a plain Jupyter Server: made once for an event loop."""

import asyncio
import os
from pathlib import Path
from weakref import WeakKeyDictionary

from enterprise_gateway.cluster.connect import connect, find_cluster, own_namespace
from enterprise_gateway.cluster.services import ClusterOptions, ClusterServices
from enterprise_gateway.errors import NotSupported
from enterprise_gateway.launch.plan import LaunchSettings
from enterprise_gateway.launch.policy import PolicyFile

__all__ = ["SharedServices", "shared_services"]

# jupyter_client makes provisioners by their entry point and hands nothing in; an event loop is what they have in common.
_by_loop: "WeakKeyDictionary[asyncio.AbstractEventLoop, SharedServices]" = WeakKeyDictionary()
_TRUE = frozenset({"true", "1", "yes", "on"})


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


async def shared_services() -> SharedServices:
    """Return the services of this event loop's cluster; give them back by `release`.

    Raises
    ------
    NotSupported
        There is no cluster.
    """
    loop = asyncio.get_running_loop()
    shared = _by_loop.get(loop)
    if shared is None:
        cluster = find_cluster(os.environ)
        if cluster is None:
            raise NotSupported("There is no cluster to run the kernel in: KUBECONFIG isn't set and this isn't a pod.")
        policy = os.environ.get("EG_POLICY_FILE")
        services = ClusterServices(
            client=await connect(cluster), policy=PolicyFile(Path(policy) if policy else None), options=_options()
        )
        shared = _by_loop.get(loop)
        if shared is None:
            shared = _by_loop[loop] = SharedServices(services)
            services.start()
        else:
            await services.stop()
    shared.users += 1
    return shared


def _options() -> ClusterOptions:
    own = os.environ.get("EG_NAMESPACE") or own_namespace()
    shared = os.environ.get("EG_SHARED_NAMESPACE", "").lower() in _TRUE
    launch = LaunchSettings(
        instance=os.environ.get("EG_INSTANCE", "jupyter"),
        gateway_namespace=own,
        shared_namespace=own if shared else None,
        default_service_account=os.environ.get("EG_DEFAULT_KERNEL_SERVICE_ACCOUNT_NAME", "default"),
        kernel_cluster_role=os.environ.get("EG_KERNEL_CLUSTER_ROLE") or None,
        default_image=os.environ.get("EG_KERNEL_IMAGE") or None,
    )
    return ClusterOptions(launch=launch, puller_namespaces=(own,) if own else ())
