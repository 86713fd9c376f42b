"""All kernels of this gateway: who may start one, which exist, and what happens to them together."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress

from enterprise_gateway.errors import (
    Conflict,
    GatewayError,
    Gone,
    KernelExists,
    KernelNotFound,
    LaunchRefused,
    Unavailable,
)
from enterprise_gateway.identity import ANONYMOUS, Identity
from enterprise_gateway.kernels.admission import AdmissionControl
from enterprise_gateway.kernels.kernel import ExecutionState, Kernel
from enterprise_gateway.kernels.refusals import whose_mistake
from enterprise_gateway.kernels.requests import StartRequest, launch_request, owner_of
from enterprise_gateway.kernels.rules import KernelFactory, KernelMetrics, Peers, RulesInForce
from enterprise_gateway.kernels.table import Entry, KernelTable
from enterprise_gateway.kernelspecs.authorization import check_may_start, visible_to
from enterprise_gateway.kernelspecs.catalogue import Kernelspec, KernelspecCatalogue
from enterprise_gateway.launch.request import client_variables

__all__ = ["Kernels"]

_log = logging.getLogger(__name__)

_SHUTDOWNS_AT_ONCE = 32
# The watch of one replica is rarely later than that of another by more than milliseconds.
_NEWS_SECONDS = 5.0


class Kernels:
    """Starts kernels and knows every one, from the moment its start was accepted.

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
        self.table = table
        self.rules = rules
        self.draining = False
        self._peers = peers
        self._admission = admission
        self._catalogue = catalogue
        self._make_kernel = make_kernel
        self._metrics = metrics
        self._prepare = prepare

    # ------------------------------------------------------------------------------------------------------- look-up

    def __len__(self) -> int:
        return len(self.table)

    def all(self, identity: Identity = ANONYMOUS) -> list[Kernel]:
        """Return the kernels that a caller may see, the oldest first."""
        return self.table.all(identity)

    def check_synced(self) -> None:
        """Return where every kernel is known, whoever started it.

        Raises
        ------
        ClusterNotSynced
            There may be others.
        """
        self._peers.check_synced()

    def get(self, kernel_id: str, identity: Identity) -> Kernel:
        """Return one kernel.

        Raises
        ------
        KernelNotFound
            There is none of this id that the caller may see.
        """
        return self.table.entry(kernel_id, identity).kernel

    async def find(self, kernel_id: str, identity: Identity) -> Kernel:
        """Return one kernel, though another replica has only just started it.

        Raises
        ------
        KernelNotFound
            There is none of this id that the caller may see.
        Unavailable
            Nobody can tell now.
        """
        if kernel_id.lower() not in self.table:
            await self._peers.look_up(kernel_id.lower())
        return self.get(kernel_id, identity)

    async def connected(self, kernel_id: str, identity: object) -> Kernel:
        """Return one kernel for who carries its messages.

        Raises
        ------
        KernelNotFound
            There is none of this id that the caller may see.
        """
        if not isinstance(identity, Identity):
            raise TypeError("identity is none")
        return await self.find(kernel_id, identity)

    async def _entry(self, kernel_id: str, identity: Identity) -> Entry:
        await self.find(kernel_id, identity)
        return self.table.entry(kernel_id, identity)

    # --------------------------------------------------------------------------------------------------------- start

    async def start(self, request: StartRequest, identity: Identity) -> tuple[Kernel, bool]:
        """Return a usable kernel, and whether this call started it.

        A repeated request with the KERNEL_ID of a kernel of the same user gives that kernel; one that still starts is
        waited for.

        Raises
        ------
        GatewayError
            The request isn't acceptable or the start failed; nothing is left behind.
        """
        if self.draining:
            raise Unavailable("The gateway is shutting down and starts no more kernels.")
        rules = self.rules.now
        client = client_variables(request.env, rules.environment)
        user = owner_of(client.username, identity, default=rules.default_user)
        kernel_id = client.kernel_id or str(uuid.uuid4())
        name = request.kernel_name or rules.default_kernel_name
        kernelspec = await self._catalogue.get(name, visible=lambda all_: visible_to(user, all_, rules.users))
        check_may_start(user, kernelspec.name, kernelspec.metadata, rules.users)
        launch = launch_request(kernel_id, user, kernelspec, client, self.rules)
        timeout = launch.launch_seconds(default=rules.launch_timeout, maximum=rules.max_launch_timeout)
        await self._prepare(kernelspec)
        if client.kernel_id is not None:
            if kernel_id not in self.table:
                await self._peers.look_up(kernel_id)
            await self._forget_dead(kernel_id, user)
            if kernel_id in self.table:
                return await self._existing(kernel_id, user, kernelspec, timeout), False
        self._admission.check(user)
        entry = Entry(*self._make_kernel(kernel_id=kernel_id, kernelspec=kernelspec, user=user, request=launch))
        self.table.add(entry)
        environment = dict(launch.environment)
        arguments: dict[str, object] = {"env": environment, "kernel_id": kernel_id, "kernel_headers": dict(request.headers)}
        entry.launch = asyncio.create_task(self._launch(entry, timeout, arguments), name=f"start {kernel_id}")
        entry.admission.begin(entry.launch.cancel)
        try:
            await self._join(entry)
        except KernelExists:
            # Asked for at two replicas at once: both clients get the kernel of the one that was faster.
            await self._peers.look_up(kernel_id)
            if kernel_id not in self.table:
                raise
            return await self._existing(kernel_id, user, kernelspec, timeout), False
        except LaunchRefused as error:
            raise whose_mistake(error, launch.judged.environment) from error
        except asyncio.CancelledError:
            # The client went away. If it chose the id it can ask for the kernel again; otherwise nobody ever could.
            if client.kernel_id is None:
                entry.launch.cancel()
            raise
        return entry.kernel, True

    async def _forget_dead(self, kernel_id: str, user: str) -> None:
        """Make room for a new kernel where the one of this id is dead; who asks for it wants one that works."""
        entry = self.table.find(kernel_id)
        if entry is not None and entry.kernel.user == user:
            await self.forget_dead(entry.kernel)

    async def _existing(self, kernel_id: str, user: str, kernelspec: Kernelspec, timeout: float) -> Kernel:
        entry = self.table[kernel_id]
        if entry.kernel.user != user:
            raise Conflict("KERNEL_ID is in use.")
        if entry.kernel.name != kernelspec.name:
            raise Conflict(f"KERNEL_ID is in use by a kernel of kernelspec '{entry.kernel.name}'.")
        if entry.launch is None:
            await entry.settled(timeout)
        else:
            await self._join(entry)
        return entry.kernel

    async def _join(self, entry: Entry) -> None:
        """Wait for a start without being able to cancel it."""
        if entry.launch is None:
            return
        await asyncio.wait([entry.launch])
        if entry.admission.refusal is not None:
            raise entry.admission.refusal
        if entry.launch.cancelled() and self.draining:
            raise Unavailable("The gateway was stopped while the kernel started.")
        if entry.launch.cancelled():
            raise Gone(f"Kernel {entry.kernel.kernel_id} was deleted while it started.")
        entry.launch.result()

    async def _launch(self, entry: Entry, timeout: float, arguments: dict[str, object]) -> None:
        kernel, began, started, outcome = entry.kernel, time.monotonic(), False, "success"
        fields = {"kernel_id": kernel.kernel_id, "user": kernel.user, "kernelspec": kernel.name}
        _log.info("Kernel starts", extra=fields)
        try:
            await entry.lifecycle.start(timeout=timeout, arguments=arguments)
            started = True
            await entry.admission.decided()
        except BaseException as error:
            error = entry.admission.refusal or error
            outcome = type(error).__name__
            self.table.forget(kernel)
            cause = error.message if isinstance(error, GatewayError) else outcome
            if started:
                await asyncio.shield(entry.lifecycle.shutdown(reason=cause))
            else:
                kernel.dead(cause)
            _log.warning("Kernel start failed", extra={**fields, "cause": cause})
            raise
        finally:
            self._metrics.launch_finished(kernel.name, time.monotonic() - began, outcome, entry.lifecycle.phases)
        _log.info("Kernel started", extra={**fields, "seconds": round(time.monotonic() - began, 3)})

    # ---------------------------------------------------------------------------------------------- interrupt, restart

    async def interrupt(self, kernel_id: str, identity: Identity) -> None:
        """Interrupt what a kernel runs.

        Raises
        ------
        GatewayError
            It doesn't exist, or isn't running.
        """
        entry = await self._entry(kernel_id, identity)
        await self._settled_elsewhere(entry)
        await entry.lifecycle.interrupt()

    async def _settled_elsewhere(self, entry: Entry) -> None:
        """Wait a moment for a kernel whose start another replica has already answered for."""
        if entry.launch is None:
            await entry.settled(_NEWS_SECONDS)

    async def restart(self, kernel_id: str, identity: Identity) -> Kernel:
        """Restart a kernel and return it when it answers.

        Raises
        ------
        GatewayError
            It doesn't exist, still starts, or could not be started again.
        """
        entry = await self._entry(kernel_id, identity)
        await self._settled_elsewhere(entry)
        if entry.kernel.execution_state == ExecutionState.STARTING:
            raise Conflict(f"Kernel {entry.kernel.kernel_id} is still starting.")
        # Shielded: a client that goes away in the middle must not leave half a restart behind.
        await asyncio.shield(entry.lifecycle.restart())
        _log.info("Kernel restarted", extra={"kernel_id": entry.kernel.kernel_id})
        return entry.kernel

    # ----------------------------------------------------------------------------------------------------------- end

    async def shutdown(self, kernel_id: str, identity: Identity, *, reason: str | None = None) -> None:
        """End a kernel and all that belongs to it; one that still starts is not waited for.

        Parameters
        ----------
        reason
            Words for the clients that are connected.

        Raises
        ------
        KernelNotFound
            There is none of this id that the caller may see.
        """
        entry = await self._entry(kernel_id, identity)
        if entry.launch is not None and entry.launching:
            entry.launch.cancel()
            await asyncio.wait([entry.launch])
        else:
            try:
                await asyncio.shield(entry.lifecycle.shutdown(reason=reason))
            finally:
                self.table.forget(entry.kernel)
        _log.info("Kernel shut down", extra={"kernel_id": entry.kernel.kernel_id, "user": entry.kernel.user, "cause": reason})

    async def shutdown_all(self) -> None:
        """End every kernel that can't outlive the gateway, many at once, and let the others live on."""
        self.draining = True
        places = asyncio.Semaphore(_SHUTDOWNS_AT_ONCE)

        async def shutdown(kernel_id: str) -> None:
            entry = self.table[kernel_id]
            if entry.kernel.outlives_gateway and not entry.launching:
                await entry.lifecycle.detach()
                return
            async with places:
                with suppress(KernelNotFound):
                    await self.shutdown(kernel_id, ANONYMOUS, reason="The gateway was stopped.")

        for result in await asyncio.gather(*map(shutdown, self.table.ids()), return_exceptions=True):
            if isinstance(result, Exception):
                _log.error("A kernel could not be shut down", exc_info=result)

    async def forget_dead(self, kernel: Kernel) -> None:
        """Forget a kernel with what is left of it, if it is dead; another one that has its id meanwhile stays."""
        entry = self.table.find(kernel.kernel_id)
        if entry is not None and entry.kernel is kernel and kernel.execution_state == ExecutionState.DEAD:
            with suppress(KernelNotFound):
                await self.shutdown(kernel.kernel_id, ANONYMOUS)

    async def cull(self, kernel: Kernel, reason: str) -> None:
        """Shut down a kernel that nobody has used for too long; a failure is logged."""
        fields = {"kernel_id": kernel.kernel_id, "idle_seconds": round(kernel.idle_seconds)}
        _log.info("Kernel is culled", extra=fields)
        self._metrics.kernel_culled()
        try:
            await self.shutdown(kernel.kernel_id, ANONYMOUS, reason=reason)
        except KernelNotFound:
            # Its user was faster.
            return
        except Exception:
            _log.exception("A kernel could not be culled", extra=fields)
