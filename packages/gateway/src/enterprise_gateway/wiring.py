"""Builds a gateway from its settings: the only place that knows every part."""

import copy
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from jupyter_core.paths import jupyter_runtime_dir
from traitlets.config import Configurable

from enterprise_gateway import __version__
from enterprise_gateway.cluster.connection import ClusterConnection
from enterprise_gateway.gateway import Gateway, GatewayParts
from enterprise_gateway.kernels.adoption import Adoption
from enterprise_gateway.kernels.kernel import Kernel
from enterprise_gateway.kernels.lifecycle import KernelLifecycle, LifecycleOptions
from enterprise_gateway.kernels.manager import GatewayKernelManager
from enterprise_gateway.kernels.registry import Kernels
from enterprise_gateway.kernels.sessions import Sessions
from enterprise_gateway.kernelspecs.catalogue import Kernelspec, KernelspecCatalogue
from enterprise_gateway.metrics import GatewayMetrics
from enterprise_gateway.provisioners.local import GatewayLocalProvisioner
from enterprise_gateway.provisioners.local_ports import LocalPorts, ephemeral_range
from enterprise_gateway.provisioners.process_proxy import KUBERNETES, LOCAL
from enterprise_gateway.provisioners.registry import Provisioners, runs_in_cluster
from enterprise_gateway.server import make_server, tls_context
from enterprise_gateway.settings import GatewaySettings
from enterprise_gateway.web.application import make_application
from enterprise_gateway.web.health import ApiHandler, LiveHandler, MetricsHandler, OpenMetricsHandler, ReadyHandler
from enterprise_gateway.web.images import ImagesHandler
from enterprise_gateway.web.kernels import InterruptHandler, KernelHandler, KernelsHandler, RestartHandler
from enterprise_gateway.web.kernelspecs import KernelspecHandler, KernelspecResourceHandler, KernelspecsHandler
from enterprise_gateway.web.routes import Route
from enterprise_gateway.web.sessions import SessionHandler, SessionsHandler
from enterprise_gateway.websocket.connections import OpenConnections
from enterprise_gateway.websocket.handler import KernelWebsocketHandler
from enterprise_gateway.websocket.kernel import KernelDirectory, WebsocketAccess, WebsocketMetrics
from enterprise_gateway.websocket.options import WebsocketOptions
from enterprise_gateway.websocket.replay import ReplayStore
from enterprise_gateway.wiring_settings import (
    catalogue_of,
    cluster_connection,
    edge_of,
    normal_base_url,
    rules_of,
    websocket_options,
)

__all__ = ["build_gateway"]

# Clocks of this machine and of the cluster differ, and the end of a start takes a moment.
_ORPHAN_GRACE_SECONDS = 120.0


def build_gateway(
    settings: GatewaySettings, *, environment: Mapping[str, str], default_user: str, parent: Configurable | None = None
) -> Gateway:
    """Return a gateway that isn't listening yet.

    Parameters
    ----------
    environment
        The process' environment; kernels get the parts of it that the settings let through.
    default_user
        Owner of kernels that no user is named for.
    parent
        Traitlets' configuration for jupyter_client's kernelspec manager.

    Raises
    ------
    ValueError, OSError
        A setting names a file, a class or a range that can't be used.
    """
    settings = dataclasses.replace(settings, base_url=normal_base_url(settings.base_url))
    tls = tls_context(settings)
    metrics = GatewayMetrics(version=__version__)
    context: zmq.Context[Any] = zmq.Context(settings.zmq_io_threads)
    context.set(zmq.MAX_SOCKETS, settings.zmq_max_sockets)
    catalogue = catalogue_of(settings, parent)
    rules = functools.partial(rules_of, default_user=default_user)
    options = websocket_options(settings)
    replay = ReplayStore(options=options, metrics=metrics)
    connections = OpenConnections(limit=settings.max_websockets)
    forgotten: list[Callable[[str], None]] = [replay.discard]

    def kernel_forgotten(kernel_id: str) -> None:
        for tell in forgotten:
            tell(kernel_id)

    cluster = cluster_connection(settings, environment)

    async def prepare(kernelspec: Kernelspec) -> None:
        if runs_in_cluster(kernelspec.spec):
            await cluster.open()

    make_kernel = _KernelMaker(settings=settings, context=context, metrics=metrics, cluster=cluster)
    kernels = Kernels(
        catalogue=catalogue,
        make_kernel=make_kernel,
        rules=rules(settings),
        gateway_environment=environment,
        metrics=metrics,
        on_forgotten=kernel_forgotten,
        clock=time.monotonic,
        prepare=prepare,
    )
    adoption = Adoption(
        cluster=cluster,
        kernels=kernels,
        catalogue=catalogue,
        make_kernel=make_kernel,
        orphan_age=settings.max_kernel_launch_timeout + _ORPHAN_GRACE_SECONDS,
    )
    metrics.observe_kernels(lambda: ((kernel.name, str(kernel.execution_state)) for kernel in kernels.all()))
    sessions = Sessions(kernels=kernels, maximum=settings.max_sessions)
    forgotten.append(sessions.kernel_forgotten)
    edge = edge_of(settings, metrics)
    problems: list[Callable[[], list[str]]] = []
    routes = [
        *_rest_routes(settings, kernels=kernels, sessions=sessions, catalogue=catalogue),
        _websocket_route(
            kernels=kernels, access=edge.access, options=options, replay=replay, connections=connections, metrics=metrics
        ),
        Route(
            path="/api/images",
            handler=ImagesHandler,
            services={"catalogue": catalogue, "node_images": cluster.node_images},
        ),
        *_health_routes(settings, lambda: [problem for ask in problems for problem in ask()]),
    ]
    application = make_application(routes=routes, edge=edge, settings={})
    gateway = Gateway(
        parts=GatewayParts(
            settings=settings,
            server=make_server(application, settings, tls),
            tls=tls is not None,
            kernels=kernels,
            catalogue=catalogue,
            metrics=metrics,
            context=context,
            rules_of=rules,
            close_websockets=connections.close_all,
            forget_replay=replay.close,
            cluster=cluster,
            adoption=adoption,
        )
    )
    problems.append(gateway.problems)
    return gateway


class _KernelMaker:
    """Makes the objects of one kernel: its manager, its provisioner and who watches over it."""

    def __init__(
        self, *, settings: GatewaySettings, context: zmq.Context[Any], metrics: GatewayMetrics, cluster: ClusterConnection
    ) -> None:
        self._settings = settings
        self._context = context
        # jupyter_client's managers await their own sockets; these share the threads and the limit of all others.
        self._manager_context = zmq.asyncio.Context.shadow(context.underlying)
        self._runtime_dir = Path(jupyter_runtime_dir())
        self._metrics = metrics
        local = functools.partial(GatewayLocalProvisioner, ports=LocalPorts(settings.port_range, ephemeral=ephemeral_range()))
        self._provisioners = Provisioners(own={LOCAL: local, KUBERNETES: functools.partial(_in_cluster, cluster)})
        self._options = LifecycleOptions(
            kernel_info_timeout=settings.kernel_info_timeout,
            restart_limit=settings.restart_limit,
            stable_start_time=settings.stable_start_time,
        )

    def __call__(
        self, *, kernel_id: str, kernelspec: Kernelspec, user: str, environment: Mapping[str, str]
    ) -> tuple[Kernel, KernelLifecycle]:
        self._runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The environment is composed already, with the kernelspec's part in its place; jupyter_client would put that
        # part over the client's once more.
        spec = copy.copy(kernelspec.spec)
        spec.env = {}
        manager = GatewayKernelManager(
            gateway_spec=spec,
            kernel_name=kernelspec.name,
            connection_file=str(self._runtime_dir / f"kernel-{kernel_id}.json"),
            context=self._manager_context,
            transport_encryption=self._settings.transport_encryption,
            shutdown_wait_time=self._settings.shutdown_wait_time,
        )
        manager.kernel_id = kernel_id
        manager.provisioner = self._provisioners.create(kernel_id=kernel_id, kernel_spec=spec, manager=manager)
        kernel = Kernel(
            kernel_id=kernel_id,
            kernelspec=kernelspec,
            user=user,
            environment=environment,
            manager=manager,
            context=self._context,
            outlives_gateway=runs_in_cluster(spec),
        )
        lifecycle = KernelLifecycle(kernel=kernel, options=self._options, on_restart=self._metrics.kernel_restarted)
        return kernel, lifecycle


def _in_cluster(cluster: ClusterConnection, **arguments: Any) -> KernelProvisionerBase:  # noqa: ANN401  traits of the provisioner
    from enterprise_gateway.provisioners.kubernetes import KubernetesProvisioner

    return KubernetesProvisioner(services=cluster.services, **arguments)


# --------------------------------------------------------------------------------------------------------------- routes

_KERNEL_ID = {"kernel_id": "UUID of a kernel"}
_KERNEL_NAME = {"kernel_name": "Name of a kernelspec"}
_SESSION_ID = {"session_id": "UUID of a session"}


def _rest_routes(
    settings: GatewaySettings, *, kernels: Kernels, sessions: Sessions, catalogue: KernelspecCatalogue
) -> list[Route]:
    one_kernel = {"kernels": kernels}
    kernelspecs = {"catalogue": catalogue, "kernels": kernels}
    listing = {"kernels": kernels, "list_kernels": settings.list_kernels}
    all_kernels = {**listing, "kernel_headers": settings.kernel_headers}
    one_session = {"sessions": sessions, "kernels": kernels}
    return [
        Route(path="/api", handler=ApiHandler),
        Route(path="/api/kernels", handler=KernelsHandler, services=all_kernels),
        Route(path="/api/kernels/{kernel_id}", handler=KernelHandler, services=one_kernel, parameters=_KERNEL_ID),
        Route(path="/api/kernels/{kernel_id}/interrupt", handler=InterruptHandler, services=one_kernel, parameters=_KERNEL_ID),
        Route(path="/api/kernels/{kernel_id}/restart", handler=RestartHandler, services=one_kernel, parameters=_KERNEL_ID),
        Route(path="/api/kernelspecs", handler=KernelspecsHandler, services=kernelspecs),
        Route(path="/api/kernelspecs/{kernel_name}", handler=KernelspecHandler, services=kernelspecs, parameters=_KERNEL_NAME),
        Route(
            path="/kernelspecs/{kernel_name}/{path}",
            handler=KernelspecResourceHandler,
            services=kernelspecs,
            parameters={**_KERNEL_NAME, "path": "File in the kernelspec's folder"},
        ),
        Route(path="/api/sessions", handler=SessionsHandler, services={**one_session, "list_kernels": settings.list_kernels}),
        Route(path="/api/sessions/{session_id}", handler=SessionHandler, services=one_session, parameters=_SESSION_ID),
    ]


def _websocket_route(
    *,
    kernels: KernelDirectory,
    access: WebsocketAccess,
    options: WebsocketOptions,
    replay: ReplayStore,
    connections: OpenConnections,
    metrics: WebsocketMetrics,
) -> Route:
    # Its parameters are the layer's protocols: that the gateway's own objects fit them is checked here.
    services = {
        "kernels": kernels,
        "access": access,
        "options": options,
        "replay": replay,
        "connections": connections,
        "metrics": metrics,
    }
    return Route(path="/api/kernels/{kernel_id}/channels", handler=KernelWebsocketHandler, services=services)


def _health_routes(settings: GatewaySettings, problems: Callable[[], list[str]]) -> list[Route]:
    return [
        Route(path="/livez", handler=LiveHandler),
        Route(path="/healthz", handler=ReadyHandler, services={"problems": problems}),
        Route(path="/readyz", handler=ReadyHandler, services={"problems": problems}),
        Route(path="/metrics", handler=MetricsHandler if settings.authenticate_metrics else OpenMetricsHandler),
    ]
