"""Keeps every pool at its size: makes pods, finds out when they are ready, and takes away those that are of no use any more.

Whoever holds the lease does it, so that replicas don't do it twice. What a pool should be is decided in `decisions.py`; nothing
here waits for a pod, so one kernelspec whose pods can't be made keeps no other from having its own.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from enterprise_gateway.cluster.connection import ClusterConnection
from enterprise_gateway.cluster.pods.annotations import text_of
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import GatewayError, KubernetesError, Unavailable
from enterprise_gateway.kernels.rules import KernelFactory, RulesInForce
from enterprise_gateway.kernelspecs.catalogue import Kernelspec, KernelspecCatalogue
from enterprise_gateway.launch.pool import pool_plan
from enterprise_gateway.launch.pool_demand import Demand
from enterprise_gateway.launch.pool_size import NO_POOL, PoolSize
from enterprise_gateway.launch.variables import KernelVariables
from enterprise_gateway.provisioners.registry import runs_in_cluster
from enterprise_gateway.replicas.pool.decisions import PoolAim, PoolSteps, Removal, decide, superseded
from enterprise_gateway.replicas.pool.probe import phase_of
from enterprise_gateway_common import labels
from enterprise_gateway_common.supervisor_protocol import KernelPhase

if TYPE_CHECKING:
    import zmq

    from enterprise_gateway.cluster.pods.state import PodKey, PodState
    from enterprise_gateway.cluster.services import ClusterServices
    from enterprise_gateway.launch.plan import LaunchPlan

__all__ = ["PoolKeeper"]

_log = logging.getLogger(__name__)

_ROUND_SECONDS = 10.0
_SHORTEST_ROUND_SECONDS = 0.2
_PLAN_SECONDS = 10.0
_AT_ONCE = 4
_PROBE_SECONDS = 10.0
_SYNC_SECONDS = 30.0
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 5.0, 300.0
_CLAIM_PAUSE_SECONDS = 1.0
# So long a pool makes way for kernels that found no room, or were refused by a quota.
_WAY_SECONDS = 60.0


class PoolProvisioner(Protocol):
    """What the provisioner of kernels in pods does for pools."""

    def pool_size(self, services: "ClusterServices") -> PoolSize:
        """Return how many pods of the kernelspec are to wait."""

    async def plan_for_pool(self) -> "LaunchPlan":
        """Return what would be made for a start that nobody asked for."""


@dataclass
class _Pool:
    """What is remembered of one kernelspec's pool."""

    demand: Demand
    plan: "LaunchPlan | None" = None
    planned_at: float = float("-inf")
    size: PoolSize = NO_POOL
    trouble: str = ""
    """Why pods can't be made, or are of no use; empty while they are."""
    failures: int = 0
    not_before: float = float("-inf")
    making: int = 0
    probing: set[str] = field(default_factory=set)


class PoolKeeper:
    """Keeps the pools of all kernelspecs.

    Parameters
    ----------
    cluster, catalogue, make_kernel, rules
        Where pods are, which kernelspecs there are, who makes a kernel's objects, and the administrator's choices.
    context, replica
        By what supervisors are asked whether they wait.
    clock, now
        Seconds that only go forward, and the time of day.
    """

    def __init__(
        self,
        *,
        cluster: ClusterConnection,
        catalogue: KernelspecCatalogue,
        make_kernel: KernelFactory,
        rules: RulesInForce,
        context: "zmq.Context[Any]",
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._catalogue = catalogue
        self._make_kernel = make_kernel
        self._rules = rules
        self._context = context
        self._replica = f"pool-{uuid.uuid4().hex}"
        self._clock = clock
        self._now = now
        self._pools: dict[str, _Pool] = {}
        self._by_fingerprint: dict[str, _Pool] = {}
        self._kernels: set[str] = set()
        self._removed: set[str] = set()
        self._unknown: frozenset[str] = frozenset()
        self._way_until = float("-inf")
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscribed = False

    async def run(self) -> None:
        """Keep the pools until cancelled."""
        try:
            while True:
                await asyncio.sleep(_SHORTEST_ROUND_SECONDS)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._next_round()):
                        await self._changed.wait()
                self._changed.clear()
                try:
                    await self.round()
                except GatewayError as error:
                    _log.warning("Pods in waiting can't be looked after just now", extra={"cause": error.message})
                except Exception:
                    # Kernels start without pools too.
                    _log.exception("Pods in waiting can't be looked after")
        finally:
            for task in self._tasks:
                task.cancel()

    def _next_round(self) -> float:
        """Return the seconds until there is something to do, if nothing happens before."""
        now = self._clock()
        return min([_ROUND_SECONDS, *(pool.not_before - now for pool in self._pools.values() if pool.not_before > now)])

    def states(self) -> list[tuple[str, str, int]]:
        """Return kernelspec, state (ready, starting) and number of pods in waiting, for metrics."""
        if not (self._cluster.connected and self._subscribed):
            return []
        waiting = self._cluster.services.pool.waiting()
        counts: dict[tuple[str, str], int] = {(name, state): 0 for name in self._pools for state in ("ready", "starting")}
        for pod in waiting:
            state = "ready" if labels.POOL_READY_ANNOTATION in pod.annotations else "starting"
            key = pod.annotations.get(labels.KERNEL_NAME_ANNOTATION, ""), state
            counts[key] = counts.get(key, 0) + 1
        return [(name, state, count) for (name, state), count in counts.items()]

    async def round(self) -> None:
        """Look once at every pool."""
        if not self._cluster.connected:
            return
        services = self._cluster.services
        kernelspecs = {name: each for name, each in (await self._catalogue.all()).items() if runs_in_cluster(each.spec)}
        for name, kernelspec in kernelspecs.items():
            await self._plan(services, name, kernelspec)
        self._pools = {name: pool for name, pool in self._pools.items() if name in kernelspecs}
        self._tell_unknown(frozenset(services.options.launch.pools) - {name.lower() for name in kernelspecs})
        if not self._subscribed and not any(pool.size.maximum for pool in self._pools.values()):
            return
        await self._follow(services)
        if not services.leadership.leads:
            return
        self._make_way(services)
        for name in {*self._pools, *(pod.annotations.get(labels.KERNEL_NAME_ANNOTATION, "") for pod in services.pool.waiting())}:
            self._keep(services, name)

    def _tell_unknown(self, names: frozenset[str]) -> None:
        for name in sorted(names - self._unknown):
            _log.warning("There is no kernelspec for pods of the name that warm_pools has", extra={"kernelspec": name})
        self._unknown = names

    async def _follow(self, services: "ClusterServices") -> None:
        services.watch_pool()
        if not self._subscribed:
            self._subscribed = True
            self._kernels = {pod.uid for pod in services.pods.objects.values()}
            services.pool.pods.subscribe(self._pool_changed)
            services.pods.subscribe(self._kernel_changed)
        await services.pool.pods.wait_synced(Deadline(_SYNC_SECONDS))

    # -------------------------------------------------------------------------------------------------------- changes

    def _pool_changed(self, _key: "PodKey", _pod: "PodState | None") -> None:
        self._changed.set()

    def _kernel_changed(self, _key: "PodKey", pod: "PodState | None") -> None:
        if pod is None or pod.uid in self._kernels or not (same := pod.labels.get(labels.POOL_FINGERPRINT)):
            if pod is not None and pod.unschedulable:
                self._changed.set()
            return
        self._kernels = {each.uid for each in self._cluster.services.pods.objects.values()} & self._kernels | {pod.uid}
        if (pool := self._by_fingerprint.get(same)) is not None:
            pool.demand.started()
            # The next pod begins when the kernel that was claimed has: its user waits for that one.
            if pool.not_before < self._clock():
                pool.not_before = self._clock() + _CLAIM_PAUSE_SECONDS
            self._changed.set()

    def _make_way(self, services: "ClusterServices") -> None:
        """Have pools give way where a kernel finds no room, or somebody else took pods of theirs away."""
        waits = any(pod.unschedulable and not pod.deleting and not pod.ended for pod in services.pods.objects.values())
        if services.pool.gave_way() or waits:
            self._way_until = self._clock() + _WAY_SECONDS

    # --------------------------------------------------------------------------------------------------------- a pool

    async def _plan(self, services: "ClusterServices", name: str, kernelspec: Kernelspec) -> None:
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = _Pool(demand=Demand(clock=self._clock))
        if self._clock() - pool.planned_at < _PLAN_SECONDS:
            return
        pool.planned_at = self._clock()
        former, pool.plan, trouble = pool.plan, None, ""
        try:
            provisioner = self._provisioner(kernelspec)
            pool.size = provisioner.pool_size(services)
            if pool.size.maximum == 0:
                return
            plan = await provisioner.plan_for_pool()
            other = await self._provisioner(kernelspec).plan_for_pool()
        except Unavailable:
            # Of a cluster that is away nobody knows whether anything has changed.
            pool.plan = former
            return
        except GatewayError as error:
            self._tell(name, pool, error.message)
            return
        if plan.pool_obstacle is not None:
            trouble = f"it can have none: {plan.pool_obstacle}"
        elif plan.fingerprint != other.fingerprint:
            trouble = "it can have none: its template prints what differs from kernel to kernel"
        if trouble:
            self._tell(name, pool, trouble)
            return
        pool.plan = plan
        self._by_fingerprint = {each.plan.fingerprint: each for each in self._pools.values() if each.plan is not None}

    def _provisioner(self, kernelspec: Kernelspec) -> PoolProvisioner:
        """Return the provisioner of a kernel that nobody asked for; two of them have nothing in common but the kernelspec."""
        kernel_id = str(uuid.uuid4())
        user = f"pool-{kernel_id}"
        request = self._rules.launch_request(kernel_id, user, kernelspec, KernelVariables())
        kernel, _ = self._make_kernel(kernel_id=kernel_id, kernelspec=kernelspec, user=user, request=request)
        provisioner: PoolProvisioner = kernel.manager.provisioner  # type: ignore[assignment]  # that of a kernelspec for pods is one
        return provisioner

    def _keep(self, services: "ClusterServices", name: str) -> None:
        pool = self._pools.get(name) or _Pool(demand=Demand(clock=self._clock))
        plan = pool.plan
        gives_way = self._clock() < self._way_until
        aim = PoolAim(
            fingerprint="" if plan is None else plan.fingerprint,
            wanted=0 if plan is None or gives_way else pool.demand.wanted(pool.size),
            start_seconds=self._rules.now.launch_timeout,
            at_once=_AT_ONCE,
        )
        pods = [pod for pod in services.pool.waiting(name) if pod.uid not in self._removed]
        related = [*pods, *(pod for pod in services.pods.objects.values() if _is_alike(pod, aim.fingerprint))]
        steps = decide(pods, aim, old_images=superseded(related), making=pool.making, now=self._now())
        self._take(services, name, pool, steps)
        if self._clock() >= pool.not_before and plan is not None:
            for _ in range(steps.make):
                pool.making += 1
                self._spawn(self._make(services, name, pool, plan))
        going = {removal.pod.uid for removal in steps.remove}
        for pod in pods:
            if pod.running and not pod.ended and labels.POOL_READY_ANNOTATION not in pod.annotations and pod.uid not in going:
                self._probe(services, name, pool, pod)

    def _take(self, services: "ClusterServices", name: str, pool: _Pool, steps: PoolSteps) -> None:
        for removal in steps.remove:
            self._removed.add(removal.pod.uid)
            if removal.failed:
                self._failed(name, pool, removal.reason)
            self._spawn(self._remove(services, removal))
        present = {pod.uid for pod in services.pool.pods.objects.values()}
        self._removed &= present

    async def _remove(self, services: "ClusterServices", removal: Removal) -> None:
        fields = {"pod": removal.pod.name, "namespace": removal.pod.namespace, "cause": removal.reason}
        try:
            gone = await services.pool.remove(removal.pod)
        except KubernetesError as error:
            gone = False
            _log.warning("A pod in waiting can't be taken away", extra={**fields, "error": str(error)})
        if gone:
            _log.info("A pod in waiting is taken away", extra=fields)
        else:
            # It was claimed, or has changed since: what becomes of it is decided anew.
            self._removed.discard(removal.pod.uid)

    async def _make(self, services: "ClusterServices", name: str, pool: _Pool, planned: "LaunchPlan") -> None:
        try:
            # Each has keys and names of its own, and what has changed meanwhile is made as it is now.
            provisioner = self._provisioner(await self._catalogue.get(name))
            plan = await provisioner.plan_for_pool()
            if plan.fingerprint != planned.fingerprint:
                pool.planned_at = float("-inf")
                return
            made = pool_plan(plan, pool_id=plan.kernel_id)
            await services.maker.make(made, deadline=Deadline(self._rules.now.launch_timeout))
        except GatewayError as error:
            self._failed(name, pool, error.message)
        finally:
            pool.making -= 1
            self._changed.set()

    def _probe(self, services: "ClusterServices", name: str, pool: _Pool, pod: "PodState") -> None:
        if pod.uid not in pool.probing:
            pool.probing.add(pod.uid)
            self._spawn(self._find_ready(services, name, pool, pod))

    async def _find_ready(self, services: "ClusterServices", name: str, pool: _Pool, pod: "PodState") -> None:
        try:
            connection = await services.pool.connection(pod)
            if connection is None:
                return
            phase = await phase_of(connection.supervisor, context=self._context, replica=self._replica, seconds=_PROBE_SECONDS)
            if phase is KernelPhase.WAITING:
                await services.store.mark(pod, {labels.POOL_READY_ANNOTATION: text_of(self._now())})
                pool.failures, pool.trouble = 0, ""
            elif phase is not None:
                self._failed(name, pool, "the launcher in its image is too old to wait for a claim; build it with this release's")
                self._spawn(self._remove(services, Removal(pod=pod, reason=pool.trouble)))
        except GatewayError as error:
            self._failed(name, pool, error.message)
        finally:
            pool.probing.discard(pod.uid)
            self._changed.set()

    def _failed(self, name: str, pool: _Pool, trouble: str) -> None:
        pool.failures += 1
        pool.not_before = self._clock() + min(_PAUSE_SECONDS * 2 ** (pool.failures - 1), _LONGEST_PAUSE_SECONDS)
        self._tell(name, pool, trouble)

    def _tell(self, name: str, pool: _Pool, trouble: str) -> None:
        if trouble != pool.trouble:
            pool.trouble = trouble
            _log.warning("A kernelspec's pool can't be kept", extra={"kernelspec": name, "cause": trouble})

    def _spawn(self, doing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("Something that a pool needs wasn't done", exc_info=error)


def _is_alike(pod: "PodState", fingerprint: str) -> bool:
    return bool(fingerprint) and pod.labels.get(labels.POOL_FINGERPRINT) == fingerprint
