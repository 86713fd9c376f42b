"""All kernels of this gateway: which exist, what their users do to them, and what happens to them together."""

import asyncio
import logging
from contextlib import suppress

from enterprise_gateway.errors import (
    ClusterNotSynced,
    Conflict,
    Gone,
    KernelNotFound,
)
from enterprise_gateway.identity import ANONYMOUS, Identity
from enterprise_gateway.kernels.admission import AdmissionControl
from enterprise_gateway.kernels.culling import CullReason
from enterprise_gateway.kernels.kernel import ExecutionState, Kernel
from enterprise_gateway.kernels.requests import StartRequest
from enterprise_gateway.kernels.rules import KernelMetrics, Peers, RulesInForce
from enterprise_gateway.kernels.starts import KernelStarts
from enterprise_gateway.kernels.table import Entry, KernelTable

__all__ = ["Kernels"]

_log = logging.getLogger(__name__)

_SHUTDOWNS_AT_ONCE = 32
# The watch of one replica is rarely later than that of another by more than milliseconds.
_NEWS_SECONDS = 5.0
# So long a websocket waits for a gateway that has only just started to know all kernels.
_SYNC_SECONDS = 30.0


class Kernels:
    """Knows every kernel, from the moment its start was accepted, and does to them what their users ask for.

    Parameters
    ----------
    table
        Who they are.
    peers
        Knows of kernels that other processes started.
    admission
        Keeps all of them within the limits.
    starts
        Starts more of them.
    rules
        The administrator's choices.
    metrics
        Told of what happens.
    """

    def __init__(
        self,
        *,
        table: KernelTable,
        peers: Peers,
        admission: AdmissionControl,
        starts: KernelStarts,
        rules: RulesInForce,
        metrics: KernelMetrics,
    ) -> None:
        self.table = table
        self.rules = rules
        self._peers = peers
        self._admission = admission
        self._starts = starts
        self._metrics = metrics

    @property
    def draining(self) -> bool:
        """Whether the gateway is being stopped."""
        return self._starts.draining

    @draining.setter
    def draining(self, value: bool) -> None:
        self._starts.draining = value

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
        kernel = self.get(kernel_id, identity)
        kernel.claim()
        return kernel

    async def connected(self, kernel_id: str, identity: object, *, waits: bool) -> Kernel:
        """Return one kernel for who carries its messages.

        Parameters
        ----------
        waits
            Whether to wait for a gateway that has only just started to know all kernels.

        Raises
        ------
        KernelNotFound
            There is none of this id that the caller may see.
        Unavailable
            Nobody can tell now.
        """
        if not isinstance(identity, Identity):
            raise TypeError("identity is none")
        try:
            return await self.find(kernel_id, identity)
        except ClusterNotSynced as error:
            if not waits:
                raise
            # A client that is refused gives up after some attempts, and a gateway knows all kernels within moments.
            try:
                async with asyncio.timeout(_SYNC_SECONDS):
                    await self._peers.synced()
            except TimeoutError:
                raise error from None
        return await self.find(kernel_id, identity)

    async def _entry(self, kernel_id: str, identity: Identity) -> Entry:
        await self.find(kernel_id, identity)
        return self.table.entry(kernel_id, identity)

    # --------------------------------------------------------------------------------------------------------- start

    async def start(self, request: StartRequest, identity: Identity) -> tuple[Kernel, bool]:
        """Return a kernel, and whether this call started it; see `KernelStarts.start`."""
        return await self._starts.start(request, identity)

    async def join(self, kernel: Kernel, request: StartRequest) -> None:
        """Wait for a kernel that somebody else asked for; see `KernelStarts.join`."""
        await self._starts.join(kernel, request)

    # ---------------------------------------------------------------------------------------------- interrupt, restart

    async def interrupt(self, kernel_id: str, identity: Identity) -> None:
        """Interrupt what a kernel runs.

        Raises
        ------
        GatewayError
            It doesn't exist, still starts, or isn't running.
        """
        entry = await self._entry(kernel_id, identity)
        await self._settled_elsewhere(entry)
        _check_up(entry.kernel)
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
        _check_up(entry.kernel)
        if entry.kernel.execution_state == ExecutionState.DEAD:
            self._check_startable(entry.kernel)
        # Shielded: a client that goes away in the middle must not leave half a restart behind.
        await asyncio.shield(entry.lifecycle.restart())
        _log.info("Kernel restarted", extra={"kernel_id": entry.kernel.kernel_id})
        return entry.kernel

    def _check_startable(self, kernel: Kernel) -> None:
        if not kernel.manager.can_start:
            raise Gone(
                f"Kernel {kernel.kernel_id} never came up, and what it was to be started with isn't known any more: "
                f"{kernel.reason or 'it ended'} Start another one."
            )
        # A dead kernel takes nobody's place.
        self._admission.check(kernel.user)

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
            await self.table.end(entry, reason=reason)
        _log.info("Kernel shut down", extra={"kernel_id": entry.kernel.kernel_id, "user": entry.kernel.user, "cause": reason})

    def refuse_waiting(self) -> None:
        """Answer what waits here for a kernel to be up, because this gateway won't be there by then."""
        for entry in self.table.entries():
            entry.kernel.link.refuse_waiting("The gateway at which this waited for its kernel was stopped. Run it again.")

    async def shutdown_all(self) -> None:
        """End every kernel that can't outlive the gateway, many at once, and let the others live on."""
        self.draining = True
        places = asyncio.Semaphore(_SHUTDOWNS_AT_ONCE)

        async def shutdown(kernel_id: str) -> None:
            entry = self.table[kernel_id]
            if entry.can_be_handed_over:
                await entry.hand_over()
                return
            async with places:
                with suppress(KernelNotFound):
                    await self.shutdown(kernel_id, ANONYMOUS, reason="The gateway was stopped.")

        for result in await asyncio.gather(*map(shutdown, self.table.ids()), return_exceptions=True):
            if isinstance(result, Exception):
                _log.error("A kernel could not be shut down", exc_info=result)

    async def forget_dead(self, kernel: Kernel) -> None:
        """Forget a kernel with what is left of it, if it is dead; another one that has its id meanwhile stays."""
        await self.table.end_dead(kernel)

    async def cull(self, kernel: Kernel, reason: str, why: CullReason = CullReason.IDLE) -> None:
        """Shut down a kernel that nobody has used for too long, or asked for at all; a failure is logged."""
        fields = {"kernel_id": kernel.kernel_id, "idle_seconds": round(kernel.idle_seconds), "why": str(why)}
        _log.info("Kernel is culled", extra=fields)
        self._metrics.kernel_culled(why)
        try:
            await self.shutdown(kernel.kernel_id, ANONYMOUS, reason=reason)
        except KernelNotFound:
            # Its user was faster.
            return
        except Exception:
            _log.exception("A kernel could not be culled", extra=fields)


def _check_up(kernel: Kernel) -> None:
    if kernel.execution_state == ExecutionState.STARTING:
        raise Conflict(f"Kernel {kernel.kernel_id} is still starting.")
