"""Builds a gateway from its settings: the only place that knows every part."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import zmq
import zmq.asyncio
from traitlets.config import Configurable

from enterprise_gateway import __version__
from enterprise_gateway.descriptors import DescriptorBudget
from enterprise_gateway.event_loop import EventLoopMonitor
from enterprise_gateway.gateway import Gateway, GatewayParts
from enterprise_gateway.health_server import HealthServer
from enterprise_gateway.kernels.admission import AdmissionControl
from enterprise_gateway.kernels.executions import Executions
from enterprise_gateway.kernels.local_pools import LocalPools
from enterprise_gateway.kernels.ports import KernelPorts
from enterprise_gateway.kernels.registry import Kernels
from enterprise_gateway.kernels.rules import RulesInForce
from enterprise_gateway.kernels.sessions import Sessions
from enterprise_gateway.kernels.starts import KernelStarts
from enterprise_gateway.kernels.table import KernelTable
from enterprise_gateway.kernelspecs.authorization import EmptyListings
from enterprise_gateway.kernelspecs.catalogue import Kernelspec, KernelspecCatalogue
from enterprise_gateway.launch.pool_size import read_pool_sizes
from enterprise_gateway.metrics import GatewayMetrics
from enterprise_gateway.provisioners.registry import runs_in_cluster
from enterprise_gateway.readiness import Readiness
from enterprise_gateway.replicas.adoption import Adoption
from enterprise_gateway.replicas.cluster_sync import ClusterSync
from enterprise_gateway.replicas.objections import Objections
from enterprise_gateway.replicas.owners import ClusterOwners
from enterprise_gateway.replicas.pool.keeper import PoolKeeper
from enterprise_gateway.replicas.replicated_kernels import ReplicatedKernels
from enterprise_gateway.replicas.upkeep import Upkeep
from enterprise_gateway.server import make_server, tls_context
from enterprise_gateway.settings import GatewaySettings
from enterprise_gateway.web.answer_budget import AnswerBudget
from enterprise_gateway.web.application import make_application
from enterprise_gateway.web.executions import ExecutionHandler, ExecutionsHandler
from enterprise_gateway.web.health import ApiHandler, LiveHandler, MetricsHandler, OpenMetricsHandler, ReadyHandler
from enterprise_gateway.web.images import ImagesHandler
from enterprise_gateway.web.kernels import InterruptHandler, KernelHandler, KernelsHandler, RestartHandler
from enterprise_gateway.web.kernelspecs import KernelspecHandler, KernelspecResourceHandler, KernelspecsHandler
from enterprise_gateway.web.proxy.exchange import ExchangeOptions
from enterprise_gateway.web.proxy.handlers import PageHandler, PortProxy, ProxyHandler
from enterprise_gateway.web.proxy.places import Places
from enterprise_gateway.web.proxy.tickets import Tickets
from enterprise_gateway.web.routes import Route
from enterprise_gateway.web.sessions import SessionHandler, SessionsHandler
from enterprise_gateway.websocket.connections import OpenConnections
from enterprise_gateway.websocket.handler import KernelWebsocketHandler
from enterprise_gateway.websocket.kernel import KernelDirectory, WebsocketAccess, WebsocketMetrics
from enterprise_gateway.websocket.options import WebsocketOptions
from enterprise_gateway.wiring_kernels import KernelMaker
from enterprise_gateway.wiring_settings import (
    catalogue_of,
    cluster_connection,
    edge_of,
    execution_rules,
    normal_base_url,
    replica_identity,
    rules_of,
    websocket_options,
)

__all__ = ["build_gateway"]

# Clocks of this machine and of the cluster differ, and the end of a start takes a moment.
_ORPHAN_GRACE_SECONDS = 120.0
# So many clients may read the largest answers slowly at the same time.
_ANSWERS_AT_ONCE = 8


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
    table = KernelTable()
    budget = DescriptorBudget(
        for_requests=settings.max_http_connections, kernels=lambda: len(table), most_sockets=settings.zmq_max_sockets
    )
    connections = OpenConnections(limit=settings.max_websockets, room=budget)
    identity = replica_identity()
    cluster = cluster_connection(settings, environment, identity=identity)
    sync = ClusterSync(cluster=cluster, loss_grace=settings.watch_loss_grace)
    in_force = RulesInForce(rules(settings), gateway_environment=environment)
    local_pools = LocalPools(sizes=read_pool_sizes(settings.warm_pools), catalogue=catalogue, rules=in_force)
    make_kernel = KernelMaker(
        settings=settings,
        context=context,
        metrics=metrics,
        on_end=table.ended,
        cluster=cluster,
        processes=local_pools.processes,
    )
    admission = AdmissionControl(
        known=table, others=ClusterOwners(cluster=cluster, sync=sync), limits=lambda: in_force.now.limits
    )
    replicated = ReplicatedKernels(table=table)
    objections = Objections(kernels=replicated, rules=in_force, identity=identity)
    adoption = Adoption(
        cluster=cluster,
        sync=sync,
        kernels=replicated,
        catalogue=catalogue,
        make_kernel=make_kernel,
        admission=admission,
        noticed=objections.noticed,
    )

    async def prepare(kernelspec: Kernelspec) -> None:
        budget.check()
        if runs_in_cluster(kernelspec.spec):
            await adoption.join()

    starts = KernelStarts(
        table=table,
        peers=adoption,
        admission=admission,
        catalogue=catalogue,
        make_kernel=make_kernel,
        rules=in_force,
        metrics=metrics,
        prepare=prepare,
    )
    kernels = Kernels(table=table, peers=adoption, admission=admission, starts=starts, rules=in_force, metrics=metrics)
    upkeep = Upkeep(
        cluster=cluster,
        kernels=kernels,
        replicated=replicated,
        objections=objections,
        orphan_age=settings.max_kernel_launch_timeout + _ORPHAN_GRACE_SECONDS,
    )
    pool = PoolKeeper(cluster=cluster, catalogue=catalogue, make_kernel=make_kernel, rules=in_force, context=context)
    readiness = Readiness(kernels=kernels, sync=sync, cluster=cluster)
    event_loop = EventLoopMonitor()
    metrics.observe_loop_lag(lambda: event_loop.lag)
    metrics.observe_leader(lambda: cluster.leads)
    metrics.observe_kernels(lambda: ((kernel.name, str(kernel.execution_state)) for kernel in kernels.all()))
    metrics.observe_pool(pool.states)
    metrics.observe_usage(
        lambda: (
            (kernel.name, usage.memory_bytes or 0, usage.cpu_cores or 0.0)
            for kernel in kernels.all()
            if (usage := kernel.link.usage) is not None
        )
    )
    sessions = Sessions(kernels=kernels, maximum=settings.max_sessions)
    edge = edge_of(settings, metrics)
    routes = [
        *_rest_routes(settings, kernels=kernels, sessions=sessions, catalogue=catalogue),
        _websocket_route(
            kernels=kernels,
            access=edge.access,
            options=websocket_options(settings),
            connections=connections,
            metrics=metrics,
        ),
        *_port_routes(settings, kernels=kernels, connections=connections, room=budget),
        Route(
            path="/api/images",
            handler=ImagesHandler,
            services={
                "catalogue": catalogue,
                "kernels": kernels,
                "node_images": cluster.node_images,
                "check_synced": sync.check_images,
            },
        ),
        *_health_routes(settings, readiness.problems),
    ]
    application = make_application(routes=routes, edge=edge, settings={})
    return Gateway(
        parts=GatewayParts(
            settings=settings,
            server=make_server(application, settings, tls, most_connections=lambda: budget.connections),
            tls=tls is not None,
            kernels=kernels,
            catalogue=catalogue,
            metrics=metrics,
            context=context,
            rules_of=rules,
            connections=connections,
            cluster=cluster,
            sync=sync,
            adoption=adoption,
            upkeep=upkeep,
            pool=pool,
            local_pools=local_pools,
            readiness=readiness,
            event_loop=event_loop,
            health=_health_server(settings, event_loop),
        )
    )


def _health_server(settings: GatewaySettings, event_loop: EventLoopMonitor) -> HealthServer | None:
    if settings.health_port is None:
        return None
    return HealthServer(
        address=settings.ip,
        port=settings.health_port,
        path=f"{settings.base_url}livez",
        monitor=event_loop,
        stall_limit=settings.stall_limit,
    )


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
    executions = {
        "executions": Executions(kernels=kernels, rules=execution_rules(settings)),
        "budget": AnswerBudget(limit=_ANSWERS_AT_ONCE * settings.executions_max_bytes),
    }
    return [
        Route(path="/api", handler=ApiHandler),
        Route(path="/api/kernels", handler=KernelsHandler, services=all_kernels),
        Route(path="/api/kernels/{kernel_id}", handler=KernelHandler, services=one_kernel, parameters=_KERNEL_ID),
        Route(path="/api/kernels/{kernel_id}/interrupt", handler=InterruptHandler, services=one_kernel, parameters=_KERNEL_ID),
        Route(path="/api/kernels/{kernel_id}/restart", handler=RestartHandler, services=one_kernel, parameters=_KERNEL_ID),
        Route(
            path="/api/kernels/{kernel_id}/executions",
            handler=ExecutionsHandler,
            services=executions,
            parameters=_KERNEL_ID,
        ),
        Route(
            path="/api/kernels/{kernel_id}/executions/{msg_id}",
            handler=ExecutionHandler,
            services=executions,
            parameters={**_KERNEL_ID, "msg_id": "Id of the request's message"},
        ),
        Route(
            path="/api/kernelspecs",
            handler=KernelspecsHandler,
            services={**kernelspecs, "empty_listings": EmptyListings()},
        ),
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


def _port_routes(
    settings: GatewaySettings, *, kernels: Kernels, connections: OpenConnections, room: DescriptorBudget
) -> list[Route]:
    proxy = PortProxy(
        ports=KernelPorts(kernels=kernels),
        places=Places(limit=settings.proxy_connections),
        tickets=Tickets(),
        websockets=connections,
        check_room=room.check,
        options=ExchangeOptions(timeout=settings.proxy_timeout, max_header_size=settings.max_header_size),
    )
    parameters = {
        **_KERNEL_ID,
        "port": "Port of the kernel's pod that its kernelspec names in proxy_ports",
        "path": "What the port is asked for; may be empty",
    }
    root, page = "/api/kernels/{kernel_id}/proxy/{port}", "/api/kernels/{kernel_id}/pages/{port}/{ticket}"
    services = {"proxy": proxy}
    return [
        Route(path=root, handler=ProxyHandler, services=services, described=False),
        Route(path=f"{root}/{{path}}", handler=ProxyHandler, services=services, parameters=parameters),
        Route(path=page, handler=PageHandler, services=services, described=False),
        Route(path=f"{page}/{{path}}", handler=PageHandler, services=services, described=False),
    ]


def _websocket_route(
    *,
    kernels: KernelDirectory,
    access: WebsocketAccess,
    options: WebsocketOptions,
    connections: OpenConnections,
    metrics: WebsocketMetrics,
) -> Route:
    # Its parameters are the layer's protocols: that the gateway's own objects fit them is checked here.
    services = {
        "kernels": kernels,
        "access": access,
        "options": options,
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
