"""All kernels that this gateway knows: those it started and those that other replicas did."""

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from enterprise_gateway.errors import KernelNotFound
from enterprise_gateway.identity import ANONYMOUS, Identity
from enterprise_gateway.kernels.admission import Admission, AdmissionState
from enterprise_gateway.kernels.kernel import ExecutionState, Kernel
from enterprise_gateway.kernels.lifecycle import KernelLifecycle
from enterprise_gateway.kernels.pending import PendingStart

__all__ = ["Entry", "KernelTable"]

_log = logging.getLogger(__name__)

_DEAD_SECONDS = 300.0
# Who has starts fail one after the other must not fill the memory with them.
_MOST_DEAD = 100


@dataclass
class Entry:
    """One kernel, and what happens to it."""

    kernel: Kernel
    lifecycle: KernelLifecycle
    launch: asyncio.Task[None] | None = None
    """Its start, where that was this process' doing."""
    pending: PendingStart | None = None
    """How far that is for its client."""
    admission: Admission = field(default_factory=Admission)
    """Its place within the limits."""

    @property
    def launching(self) -> bool:
        """Whether this process is starting it just now."""
        return self.launch is not None and not self.launch.done()

    @property
    def has_place(self) -> bool:
        """Whether no start of another replica can take its place any more."""
        return self.admission.state is AdmissionState.ADMITTED or not self.launching

    @property
    def can_be_handed_over(self) -> bool:
        """Whether another process can go on with it: somebody waits here for a start that no client knows yet."""
        may_be_known = not self.launching or (self.pending is not None and self.pending.was_answered)
        return self.kernel.outlives_gateway and may_be_known

    async def hand_over(self) -> None:
        """Let the kernel live on without this process, though it still starts."""
        if self.launch is not None and self.pending is not None and self.launching:
            self.pending.hand_over()
            self.launch.cancel()
            await asyncio.wait([self.launch])
        await self.lifecycle.detach()

    async def settled(self, seconds: float) -> None:
        """Wait for a kernel that another replica starts, until it can be used, is dead, or the time is over."""
        if self.kernel.execution_state == ExecutionState.STARTING:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.kernel.wait_until_ready()


class KernelTable:
    """Knows every kernel, from the moment its start was accepted or noticed until it is forgotten."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._on_forgotten: list[Callable[[str], None]] = []
        self._dead: OrderedDict[Kernel, asyncio.TimerHandle] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, kernel_id: str) -> bool:
        return kernel_id in self._entries

    def __getitem__(self, kernel_id: str) -> Entry:
        return self._entries[kernel_id]

    def ids(self) -> tuple[str, ...]:
        """Return the ids of all kernels."""
        return tuple(self._entries)

    def all(self, identity: Identity = ANONYMOUS) -> list[Kernel]:
        """Return the kernels that a caller may see, the oldest first."""
        return [entry.kernel for entry in self._entries.values() if identity.may_use(entry.kernel.user)]

    def entry(self, kernel_id: str, identity: Identity) -> Entry:
        """Return one kernel's entry.

        Raises
        ------
        KernelNotFound
            There is none of this id that the caller may see.
        """
        entry = self._entries.get(kernel_id.lower())
        if entry is None or not identity.may_use(entry.kernel.user):
            raise KernelNotFound(kernel_id)
        return entry

    def find(self, kernel_id: str) -> Entry | None:
        """Return one kernel's entry, whoever may see it."""
        return self._entries.get(kernel_id)

    def owners(self, *, placed_only: bool = False) -> dict[str, str]:
        """Return the owner of every kernel by its id; one that is dead takes nobody's place.

        Parameters
        ----------
        placed_only
            Leave out starts of this process that may turn out to be one too many.
        """
        return {
            kernel_id: entry.kernel.user
            for kernel_id, entry in self._entries.items()
            if entry.kernel.execution_state != ExecutionState.DEAD and (not placed_only or entry.has_place)
        }

    def entries(self) -> Iterator[Entry]:
        """Return all kernels with what happens to them."""
        return iter(tuple(self._entries.values()))

    # -------------------------------------------------------------------------------------------------------- changes

    def add(self, entry: Entry) -> None:
        """Know a kernel."""
        self._entries[entry.kernel.kernel_id] = entry

    def forget(self, kernel: Kernel) -> None:
        """Know a kernel no more; does nothing the second time, nor to another kernel that has its id by now."""
        entry = self._entries.get(kernel.kernel_id)
        if entry is not None and entry.kernel is kernel:
            del self._entries[kernel.kernel_id]
            self._keep_no_longer(kernel)
            kernel.link.close()
            for told in self._on_forgotten:
                told(kernel.kernel_id)

    async def end(self, entry: Entry, *, reason: str | None = None) -> None:
        """End a kernel and all that belongs to it, and forget it."""
        try:
            await asyncio.shield(entry.lifecycle.shutdown(reason=reason))
        finally:
            self.forget(entry.kernel)

    async def end_dead(self, kernel: Kernel) -> None:
        """Forget a kernel with what is left of it, if it is dead; another one that has its id meanwhile stays."""
        entry = self.find(kernel.kernel_id)
        if entry is not None and entry.kernel is kernel and kernel.execution_state == ExecutionState.DEAD:
            await self.end(entry)

    def on_forgotten(self, told: Callable[[str], None]) -> None:
        """Call somebody with the id of every kernel that doesn't exist any more."""
        self._on_forgotten.append(told)

    def ended(self, kernel: Kernel, forget: bool) -> None:  # noqa: FBT001  it is the event's only fact
        """Forget a kernel that nobody here has ended: at once, or after its users could read why it is dead."""
        fields = {"kernel_id": kernel.kernel_id, "cause": kernel.reason}
        _log.info("Kernel was ended by another process" if forget else "Kernel is dead", extra=fields)
        self._keep_no_longer(kernel)
        if forget:
            self._forget_dead(kernel)
            return
        self._dead[kernel] = asyncio.get_running_loop().call_later(_DEAD_SECONDS, self._forget_dead, kernel)
        if len(self._dead) > _MOST_DEAD:
            self._forget_dead(self._one_too_many())

    def _one_too_many(self) -> Kernel:
        """Return the oldest dead kernel of whoever has the most of them."""
        owned_by = Counter(kernel.user for kernel in self._dead)
        (user, _), *_ = owned_by.most_common(1)
        return next(kernel for kernel in self._dead if kernel.user == user)

    def _keep_no_longer(self, kernel: Kernel) -> None:
        timer = self._dead.pop(kernel, None)
        if timer is not None:
            timer.cancel()

    def _forget_dead(self, kernel: Kernel) -> None:
        self._keep_no_longer(kernel)
        # Somebody may have had it started again meanwhile.
        if kernel.execution_state == ExecutionState.DEAD:
            self.forget(kernel)
