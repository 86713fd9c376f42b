"""Starting kernels: who may have one, what it is made from, and when whoever asked for it is answered."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from enterprise_gateway.errors import Conflict, GatewayError, Gone, KernelExists, LaunchRefused, Unavailable
from enterprise_gateway.identity import Identity
from enterprise_gateway.kernels.admission import AdmissionControl
from enterprise_gateway.kernels.kernel import ExecutionState, Kernel
from enterprise_gateway.kernels.pending import PendingStart, words_of_failure
from enterprise_gateway.kernels.refusals import whose_mistake
from enterprise_gateway.kernels.requests import StartRequest, owner_of
from enterprise_gateway.kernels.rules import KernelFactory, KernelMetrics, Peers, RulesInForce
from enterprise_gateway.kernels.table import Entry, KernelTable
from enterprise_gateway.kernelspecs.authorization import check_may_start, visible_to
from enterprise_gateway.kernelspecs.catalogue import Kernelspec, KernelspecCatalogue
from enterprise_gateway.launch.request import LaunchRequest, client_variables
from enterprise_gateway.provisioners.progress import NobodyWaits

__all__ = ["KernelStarts"]

_log = logging.getLogger(__name__)

_PENDING_OUTCOMES = {"success": "started", "CancelledError": "deleted", "Gone": "deleted"}


class _Wanted(NamedTuple):
    """What a request for a kernel asks for, once it was read."""

    kernel_id: str
    id_is_chosen: bool
    """Whether the client chose it, so that it can ask for the kernel again."""
    user: str
    kernelspec: Kernelspec
    launch: LaunchRequest
    timeout: float
    """Seconds for the start."""
    patience: float | None
    """Seconds for which the client waits once nothing can be refused; `None` for as long as the start takes."""


class KernelStarts:
    """Starts kernels.

    Parameters
    ----------
    table
        Who they are.
    peers
        Knows of kernels that other processes started.
    admission
        Keeps all of them within the limits.
    catalogue
        The kernelspecs.
    make_kernel
        Makes the objects of one kernel.
    rules
        The administrator's choices.
    metrics
        Told of what happens.
    prepare
        Awaited before a kernel of a kernelspec is made: where kernels of its kind run must be reachable.
    """

    def __init__(
        self,
        *,
        table: KernelTable,
        peers: Peers,
        admission: AdmissionControl,
        catalogue: KernelspecCatalogue,
        make_kernel: KernelFactory,
        rules: RulesInForce,
        metrics: KernelMetrics,
        prepare: Callable[[Kernelspec], Awaitable[None]],
    ) -> None:
        self.draining = False
        """Whether the gateway is being stopped."""
        self._table = table
        self._rules = rules
        self._peers = peers
        self._admission = admission
        self._catalogue = catalogue
        self._make_kernel = make_kernel
        self._metrics = metrics
        self._prepare = prepare

    async def start(self, request: StartRequest, identity: Identity) -> tuple[Kernel, bool]:
        """Return a kernel, and whether this call started it: a usable one, or one that starts for a client that doesn't wait.

        A repeated request with the KERNEL_ID of a kernel of the same user gives that kernel; one that still starts is
        waited for as long as a new one. What can be refused is refused here, however little the client waits.

        Raises
        ------
        GatewayError
            The request isn't acceptable or the start failed; nothing is left behind.
        """
        if self.draining:
            raise Unavailable("The gateway is shutting down and starts no more kernels.")
        wanted = await self._wanted(request, identity)
        await self._prepare(wanted.kernelspec)
        if wanted.id_is_chosen:
            if wanted.kernel_id not in self._table:
                await self._peers.look_up(wanted.kernel_id)
            await self._forget_dead(wanted)
            if wanted.kernel_id in self._table:
                return await self._existing(wanted), False
        self._admission.check(wanted.user)
        entry, launch = self._begin(wanted, request)
        try:
            await self._join(entry, wanted.timeout, wanted.patience)
        except KernelExists:
            # Asked for at two replicas at once: both clients get the kernel of the one that was faster.
            await self._peers.look_up(wanted.kernel_id)
            if wanted.kernel_id not in self._table:
                raise
            return await self._existing(wanted), False
        except LaunchRefused as error:
            raise whose_mistake(error, wanted.launch.judged.environment) from error
        except asyncio.CancelledError:
            # The client went away. If it chose the id it can ask for the kernel again; otherwise nobody ever could.
            if not wanted.id_is_chosen:
                launch.cancel()
            raise
        return entry.kernel, True

    async def _wanted(self, request: StartRequest, identity: Identity) -> _Wanted:
        """Return what a request asks for, where its caller may have that."""
        rules = self._rules.now
        client = client_variables(request.env, rules.environment)
        user = owner_of(client.username, identity, default=rules.default_user)
        kernel_id = client.kernel_id or str(uuid.uuid4())
        name = request.kernel_name or rules.default_kernel_name
        kernelspec = await self._catalogue.get(name, visible=lambda all_: visible_to(user, all_, rules.users))
        check_may_start(user, kernelspec.name, kernelspec.metadata, rules.users)
        launch = self._rules.launch_request(kernel_id, user, kernelspec, client)
        timeout = launch.launch_seconds(default=rules.launch_timeout, maximum=rules.max_launch_timeout)
        patience = request.patience(pending_starts=rules.pending_starts)
        if patience is not None:
            # Clients derive theirs from how long they would wait for an answer.
            timeout = max(timeout, min(rules.pending_start_timeout, rules.max_launch_timeout))
        return _Wanted(kernel_id, client.kernel_id is not None, user, kernelspec, launch, timeout, patience)

    def _begin(self, wanted: _Wanted, request: StartRequest) -> "tuple[Entry, asyncio.Task[None]]":
        """Know a kernel and begin to start it."""
        kernel_id, kernelspec, launch = wanted.kernel_id, wanted.kernelspec, wanted.launch
        entry = Entry(*self._make_kernel(kernel_id=kernel_id, kernelspec=kernelspec, user=wanted.user, request=launch))
        self._table.add(entry)
        pending = PendingStart(seconds=wanted.timeout, tell_failure=entry.lifecycle.supervision.tell_failure)
        entry.pending = entry.kernel.manager.launch_progress = pending
        environment = dict(launch.environment)
        arguments: dict[str, object] = {"env": environment, "kernel_id": kernel_id, "kernel_headers": dict(request.headers)}
        entry.launch = asyncio.create_task(self._launch(entry, pending, arguments), name=f"start {kernel_id}")
        # Nobody may be left to read how it ended.
        entry.launch.add_done_callback(lambda launch: launch.cancelled() or launch.exception())
        entry.admission.begin(entry.launch.cancel)
        return entry, entry.launch

    async def _forget_dead(self, wanted: _Wanted) -> None:
        """Make room for a new kernel where the one of this id is dead; who asks for it wants one that works."""
        entry = self._table.find(wanted.kernel_id)
        if entry is not None and entry.kernel.user == wanted.user:
            await self._table.end_dead(entry.kernel)

    async def _existing(self, wanted: _Wanted) -> Kernel:
        entry = self._table[wanted.kernel_id]
        if entry.kernel.user != wanted.user:
            raise Conflict("KERNEL_ID is in use.")
        if entry.kernel.name != wanted.kernelspec.name:
            raise Conflict(f"KERNEL_ID is in use by a kernel of kernelspec '{entry.kernel.name}'.")
        entry.kernel.claim()
        await self._join(entry, wanted.timeout, wanted.patience)
        return entry.kernel

    async def join(self, kernel: Kernel, request: StartRequest) -> None:
        """Wait for a kernel that somebody else asked for as long as for a new one; one that doesn't start is there at once.

        Raises
        ------
        GatewayError
            Its start failed.
        """
        kernel.claim()
        entry, rules = self._table.find(kernel.kernel_id), self._rules.now
        if entry is not None and entry.kernel is kernel and kernel.execution_state == ExecutionState.STARTING:
            await self._join(entry, rules.launch_timeout, request.patience(pending_starts=rules.pending_starts))

    async def _join(self, entry: Entry, timeout: float, patience: float | None) -> None:
        """Wait for a start without being able to cancel it: until it is over, or nothing of it can be refused and patience ends.

        Parameters
        ----------
        timeout
            Seconds for one that is another replica's.
        """
        if entry.launch is None or entry.pending is None:
            await entry.settled(timeout if patience is None else min(patience, timeout))
            return
        placed = entry.admission.settled if entry.kernel.outlives_gateway and self._admission.has_limits else None
        if not await entry.pending.is_over(entry.launch, patience=patience, placed=placed):
            self._answered(entry.kernel, entry.pending)
            return
        if entry.admission.refusal is not None:
            raise entry.admission.refusal
        if entry.launch.cancelled() and self.draining:
            raise Unavailable("The gateway was stopped while the kernel started.")
        if entry.launch.cancelled():
            raise Gone(f"Kernel {entry.kernel.kernel_id} was deleted while it started.")
        entry.launch.result()

    def _answered(self, kernel: Kernel, pending: PendingStart) -> None:
        if not pending.was_answered:
            _log.info("Client is answered while its kernel starts", extra={"kernel_id": kernel.kernel_id, "user": kernel.user})
            kernel.expect_claim(pending.seconds)
        pending.answered()

    async def _launch(self, entry: Entry, pending: PendingStart, arguments: dict[str, object]) -> None:
        kernel, began, started, outcome = entry.kernel, time.monotonic(), False, "success"
        fields = {"kernel_id": kernel.kernel_id, "user": kernel.user, "kernelspec": kernel.name}
        _log.info("Kernel starts", extra=fields)
        try:
            await entry.lifecycle.start(timeout=pending.seconds, arguments=arguments)
            started = True
            await entry.admission.decided()
        except BaseException as error:
            if pending.is_handed_over:
                outcome = "handed over"
                raise
            error = entry.admission.refusal or error
            outcome = type(error).__name__
            cause = words_of_failure(error, draining=self.draining)
            # Who was answered hears of it from the kernel, unless somebody had it ended.
            stays = pending.was_answered and isinstance(error, GatewayError) and not isinstance(error, Gone)
            if not stays:
                self._table.forget(kernel)
            if started:
                await asyncio.shield(entry.lifecycle.shutdown(reason=cause))
            else:
                kernel.dead(cause)
            if stays:
                self._table.ended(kernel, forget=False)
            _log.warning("Kernel start failed", extra={**fields, "cause": cause})
            raise
        finally:
            kernel.manager.launch_progress = NobodyWaits()
            if not pending.is_handed_over:
                self._metrics.launch_finished(kernel.name, time.monotonic() - began, outcome, entry.lifecycle.phases)
            if pending.was_answered and not pending.is_handed_over:
                self._metrics.pending_start_ended(_PENDING_OUTCOMES.get(outcome, "failed"))
        _log.info("Kernel started", extra={**fields, "seconds": round(time.monotonic() - began, 3)})
