"""One running gateway: what is started, in which order, and how it ends."""

import asyncio
import gc
import ipaddress
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import zmq
from tornado.httpserver import HTTPServer

from enterprise_gateway.cluster.connection import ClusterConnection
from enterprise_gateway.descriptors import raise_descriptor_limit
from enterprise_gateway.errors import GatewayError, NotSupported
from enterprise_gateway.event_loop import EventLoopMonitor
from enterprise_gateway.health_server import HealthServer
from enterprise_gateway.kernels.kernel import ExecutionState
from enterprise_gateway.kernels.local_pools import LocalPools
from enterprise_gateway.kernels.registry import Kernels
from enterprise_gateway.kernels.rules import KernelRules
from enterprise_gateway.kernelspecs.catalogue import KernelspecCatalogue
from enterprise_gateway.metrics import GatewayMetrics
from enterprise_gateway.provisioners.registry import runs_in_cluster
from enterprise_gateway.readiness import Readiness
from enterprise_gateway.replicas.adoption import Adoption
from enterprise_gateway.replicas.cluster_sync import ClusterSync
from enterprise_gateway.replicas.pool.keeper import PoolKeeper
from enterprise_gateway.replicas.upkeep import Upkeep
from enterprise_gateway.server import bind
from enterprise_gateway.settings import GatewaySettings
from enterprise_gateway.websocket.connections import OpenConnections
from enterprise_gateway.welcome import jupyterlab_command

__all__ = ["Gateway", "GatewayParts"]

_log = logging.getLogger(__name__)

_ACTIVITY_INTERVAL_SECONDS = 15.0
_UNCLAIMED_INTERVAL_SECONDS = 15.0
_ORPHAN_INTERVAL_SECONDS = 300.0
_RETRY_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class GatewayParts:
    """Everything that was built for one gateway."""

    settings: GatewaySettings
    server: HTTPServer
    tls: bool
    kernels: Kernels
    catalogue: KernelspecCatalogue
    metrics: GatewayMetrics
    context: zmq.Context[Any]
    rules_of: Callable[[GatewaySettings], KernelRules]
    connections: OpenConnections
    cluster: ClusterConnection
    sync: ClusterSync
    adoption: Adoption
    upkeep: Upkeep
    pool: PoolKeeper
    local_pools: LocalPools
    readiness: Readiness
    event_loop: EventLoopMonitor
    health: HealthServer | None


class Gateway:
    """Runs the parts: listens, does what has to be done from time to time, and ends in order.

    Parameters
    ----------
    parts
        What was built.
    """

    def __init__(self, *, parts: GatewayParts) -> None:
        self._parts = parts
        self._port = parts.settings.port
        self._tasks: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where clients reach it, as far as this process can know."""
        settings = self._parts.settings
        host = "127.0.0.1" if settings.ip in {"", "0.0.0.0", "::"} else settings.ip  # noqa: S104  compared, not bound
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self._parts.tls else 'http'}://{shown}:{self._port}{settings.base_url.rstrip('/')}"

    @property
    def for_this_machine(self) -> bool:
        """Whether no other machine can reach it."""
        return _is_loopback(self._parts.settings.ip)

    @property
    def token_needed(self) -> bool:
        """Whether clients need a token."""
        return bool(self._parts.settings.auth_token or self._parts.settings.auth_tokens_file)

    async def start(self) -> None:
        """Listen and serve.

        Raises
        ------
        PortUnavailableError
            No port could be bound.
        """
        settings = self._parts.settings
        raise_descriptor_limit()
        # From the first moment on: where kernelspecs are read from a folder that hangs, the gateway lives all the same.
        self._watching = self._spawn(self._parts.event_loop.run(), "watch the event loop", essential=True)
        sockets, self._port = bind(address=settings.ip, port=settings.port, retries=settings.port_retries)
        if settings.port not in (0, self._port):
            # Whoever was told the port meets another program there, which may well be a Jupyter Server.
            _log.warning(
                "The port is taken; the gateway listens on another",
                extra={"port": settings.port, "listens_on": self._port, "use": jupyterlab_command(self.url)},
            )
        self._parts.server.add_sockets(sockets)
        if self._parts.health is not None:
            self._parts.health.start()
        await self._parts.catalogue.all()
        self._parts.readiness.kernelspecs_read = True
        # What the gateway is made of stays to the end; a collection needn't look at it again and hold up every message.
        gc.freeze()
        self._spawn(self._find_kernels(), "find kernels", essential=True)
        self._spawn(self._parts.pool.run(), "keep pods in waiting", essential=True)
        self._spawn(self._parts.local_pools.run(), "keep processes in waiting", essential=True)
        self._every(settings.cull_interval, self._parts.upkeep.cull)
        self._every(_ACTIVITY_INTERVAL_SECONDS, self._parts.upkeep.record_activity)
        self._every(_UNCLAIMED_INTERVAL_SECONDS, self._parts.upkeep.cull_unclaimed)
        self._every(_ORPHAN_INTERVAL_SECONDS, self._parts.upkeep.collect_orphans)
        self._every(_LOOK_AGAIN_SECONDS, self._parts.adoption.look_again)
        _log.info("Gateway listens", extra={"url": self.url})
        if not (self.token_needed or self.for_this_machine):
            _log.warning(
                "Everybody who reaches this address may use the gateway; EG_AUTH_TOKEN sets a token", extra={"ip": settings.ip}
            )

    async def _find_kernels(self) -> None:
        """Adopt what runs in the cluster, however long the cluster takes to answer, as soon as there is need of one."""
        while not await self._needs_cluster():
            # Ready without it; another replica may be given a kernelspec for pods, and then so is this one.
            self._parts.sync.not_needed()
            self._parts.readiness.kernels_found = True
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        while True:
            try:
                await self._parts.adoption.begin()
                break
            except NotSupported as error:
                if self._parts.cluster.mode == "on":
                    _log.error("There is no cluster", extra={"cause": error.message})
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                # Kernelspecs for a cluster lie here, and there is none: the local ones work all the same.
                _log.warning("Kernelspecs ask for a cluster and there is none")
                break
            except GatewayError as error:
                _log.warning("The cluster doesn't answer yet", extra={"cause": error.message})
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:
                # Nobody foresaw it, and it may pass all the same; until then the gateway isn't ready.
                _log.exception("The kernels of the cluster can't be found")
                await asyncio.sleep(_RETRY_SECONDS)
        self._parts.readiness.kernels_found = True

    async def _needs_cluster(self) -> bool:
        mode = self._parts.cluster.mode
        if mode != "auto":
            return mode == "on"
        kernelspecs = await self._parts.catalogue.all()
        return any(runs_in_cluster(kernelspec.spec) for kernelspec in kernelspecs.values())

    def follow_configuration(self, changed: Callable[[], GatewaySettings | None], interval: float) -> None:
        """Look for changed configuration every `interval` seconds and let it take effect; never when 0."""

        async def look() -> None:
            settings = await asyncio.to_thread(changed)
            if settings is not None:
                self._parts.kernels.rules.now = self._parts.rules_of(settings)
                _log.info("Changed configuration is in force")

        if interval > 0:
            self._every(interval, look)

    def _every(self, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        async def repeat() -> None:
            while True:
                await asyncio.sleep(seconds)
                try:
                    await action()
                except Exception:
                    # One failed round must not be the last one.
                    _log.exception("A periodic task failed")

        self._spawn(repeat(), f"every {seconds:g} seconds")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str, *, essential: bool = False) -> asyncio.Task[None]:
        """Do something beside everything else; a gateway isn't ready any more when an error ends what is essential."""

        def ended(task: asyncio.Task[None]) -> None:
            # Nobody waits for it; what ends it unasked would go unseen.
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("A part of the gateway was ended by an error", exc_info=error, extra={"part": name})
                if essential:
                    self._parts.readiness.broke(name)

        task = asyncio.create_task(work, name=name)
        task.add_done_callback(ended)
        self._tasks.append(task)
        return task

    async def run_until_signal(self) -> None:
        """Serve until SIGTERM or SIGINT, then end in order; a second signal doesn't wait."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        # A terminal that is closed must not end what others use.
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        await stop.wait()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        await self.stop()

    def _worth_waiting_for(self, kernel_id: str) -> bool:
        """Tell whether a kernel that will go on without this gateway runs a cell, or is to, or a client is yet to get its output.

        The log ends with this process, and what its clients haven't got from it by then is lost; so is what waits here for a
        kernel to be up.
        """
        entry = self._parts.kernels.table.find(kernel_id)
        if entry is None or not entry.kernel.outlives_gateway:
            return False
        link = entry.kernel.link
        return entry.kernel.execution_state == ExecutionState.BUSY or link.delivering or link.holding

    async def stop(self) -> None:
        """Take no more requests, let cells in pods end that soon do, end the kernels of this machine, close the websockets."""
        parts = self._parts
        _log.info("Gateway stops", extra={"kernels": len(parts.kernels)})
        parts.kernels.draining = True
        parts.server.stop()
        # A gateway that drains lives, which its kubelet may ask as long as that takes.
        ending = [task for task in self._tasks if task is not self._watching]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        # First of all: another replica may act from now on, and this one does nothing more that only one may do.
        await parts.cluster.step_down()
        await parts.connections.close_idle(self._worth_waiting_for, within=parts.settings.drain_timeout)
        parts.kernels.refuse_waiting()
        await parts.connections.close_all()
        await parts.upkeep.flush()
        await parts.kernels.shutdown_all()
        await parts.cluster.close()
        await parts.server.close_all_connections()
        if parts.health is not None:
            await asyncio.to_thread(parts.health.stop)
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        parts.context.destroy(linger=0)
        _log.info("Gateway stopped")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
