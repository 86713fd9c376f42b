"""Whether a start has its place within the limits, which hold over all replicas.

A start is checked before anything is made, and once more when the cluster has its pod. All replicas see pods in the order
in which they were made. Who sees its own after as many as there may be was late, and every replica sees it so: of two that
start the last kernel at the same moment, exactly one succeeds. Where the order is lost, because the cluster had to be
listed anew or several namespaces are watched, all that there is counts, and both may have to try again.
"""

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Protocol

from enterprise_gateway.errors import GatewayError, LimitReached
from enterprise_gateway.kernels.limits import KernelLimits, check_limits

__all__ = ["Admission", "AdmissionControl", "AdmissionState", "KnownOwners", "OtherOwners"]


class AdmissionState(Enum):
    """Where a start stands with the limits; it moves downwards only."""

    OPEN = auto()
    """The cluster doesn't show its pod yet: a start of another replica may still come before it."""
    ASKING = auto()
    """The API server is asked what is there, because changes didn't arrive in their order."""
    ADMITTED = auto()
    """It counts, and no other start can take its place any more."""
    REFUSED = auto()
    """As many kernels as there may be came before it, or nobody could tell."""


class Admission:
    """One start's way to its place.

    Parameters
    ----------
    state
        `ADMITTED` for a kernel that another process started.
    """

    def __init__(self, state: AdmissionState = AdmissionState.OPEN) -> None:
        self.state = state
        self.refusal: GatewayError | None = None
        """Why it is refused."""
        self._question: asyncio.Task[None] | None = None
        self._end_start: Callable[[], object] | None = None
        self._settled = asyncio.Event()

    def begin(self, end_start: Callable[[], object]) -> None:
        """Take over how the start is ended while it is under way."""
        self._end_start = end_start

    def ask(self, question: "asyncio.Task[None]") -> None:
        """Wait for an answer, which admits or refuses."""
        self.state, self._question = AdmissionState.ASKING, question

    def admit(self) -> None:
        """Give the start its place."""
        self.state = AdmissionState.ADMITTED
        self._settled.set()

    def refuse(self, error: GatewayError) -> None:
        """Refuse it, and end it where it is still under way."""
        self.state, self.refusal = AdmissionState.REFUSED, error
        self._settled.set()
        if self._end_start is not None:
            self._end_start()

    async def settled(self) -> None:
        """Return when it is admitted or refused, which of a kernel without a pod never happens."""
        await self._settled.wait()

    async def decided(self) -> None:
        """Return when a start that is over otherwise has its place; one whose pod nobody saw so far has it too.

        Raises
        ------
        GatewayError
            It is refused.
        """
        self._end_start = None
        if self._question is not None:
            await asyncio.wait([self._question])
        if self.refusal is not None:
            raise self.refusal


class KnownOwners(Protocol):
    """The kernels that this process knows."""

    def owners(self, *, placed_only: bool = False) -> dict[str, str]:
        """Return the owner of every kernel by its id, without those that are dead."""


class OtherOwners(Protocol):
    """The kernels that others can see as well, whoever started them."""

    def owners(self) -> Mapping[str, str]:
        """Return the owner of every kernel by its id."""

    async def owners_now(self) -> Mapping[str, str]:
        """Return the same as it is this moment, though nobody here has seen it yet."""

    @property
    def in_order(self) -> bool:
        """Whether what is seen now is all that came about before what was seen last, and nothing later."""

    def check_synced(self) -> None:
        """Return where every kernel of other processes is known; raises `ClusterNotSynced` where there may be others."""


class AdmissionControl:
    """Keeps the kernels of all replicas within the limits.

    Parameters
    ----------
    known, others
        The kernels that this process knows, and those that all replicas see.
    limits
        Returns the limits as they are now.
    """

    def __init__(self, *, known: KnownOwners, others: OtherOwners, limits: Callable[[], KernelLimits]) -> None:
        self._known = known
        self._others = others
        self._limits = limits

    @property
    def has_limits(self) -> bool:
        """Whether a start can be one too many."""
        return self._limits().any

    def check(self, user: str) -> None:
        """Return where one more kernel of a user is within the limits, as far as it is known.

        Raises
        ------
        LimitReached
            It isn't.
        ClusterNotSynced
            Nobody can tell now.
        """
        if self._limits().any:
            self._others.check_synced()
            check_limits({**self._others.owners(), **self._known.owners()}.values(), user, self._limits())

    def pod_seen(self, admission: Admission, *, kernel_id: str, user: str) -> None:
        """Give a start its place, or refuse it: the cluster has its pod now."""
        if admission.state is not AdmissionState.OPEN:
            return
        if not self._limits().any:
            admission.admit()
        elif self._others.in_order:
            self._decide(admission, kernel_id, user, self._others.owners())
        else:
            admission.ask(asyncio.create_task(self._ask(admission, kernel_id, user), name=f"place {kernel_id}"))

    async def _ask(self, admission: Admission, kernel_id: str, user: str) -> None:
        try:
            self._decide(admission, kernel_id, user, await self._others.owners_now())
        except GatewayError as error:
            # Rather one kernel too few than one too many.
            admission.refuse(error)

    def _decide(self, admission: Admission, kernel_id: str, user: str, others: Mapping[str, str]) -> None:
        owners = {**others, **self._known.owners(placed_only=True)}
        owners.pop(kernel_id, None)
        try:
            check_limits(owners.values(), user, self._limits())
        except LimitReached as error:
            admission.refuse(error)
        else:
            admission.admit()
