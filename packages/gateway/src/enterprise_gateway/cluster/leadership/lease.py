"""One of several replicas at a time: the holder of a Lease does what only one may do.

The library's own leader election ends with the first connection that breaks and reads the wall clock; this one takes
a broken connection for a renewal that failed, and measures on the monotonic clock how long a holder has been silent.
A renewal is one call: the holder replaces the object that it wrote before.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from enterprise_gateway.cluster.api.client import ClusterClient, Document
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import KubernetesError, ObjectExists, ObjectNotFound

__all__ = ["Lease"]

_log = logging.getLogger(__name__)

_FORBIDDEN = 403
_REFUSED_SECONDS = 60.0
_WITHOUT_RIGHTS = (
    "Without the right to leases, kernels that other processes started are neither culled nor started again here: grant get, "
    "create and update, or set leader_election to false where this is the only gateway"
)


class Lease:
    """A claim on what one replica does for all.

    Parameters
    ----------
    identity
        Tells this replica from the others: its pod's name.
    duration
        Seconds of silence after which another replica may take over; the holder gives up earlier, so that there are
        never two.
    """

    def __init__(
        self,
        *,
        client: ClusterClient,
        namespace: str,
        name: str,
        identity: str,
        duration: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._duration = duration
        self._clock = clock
        self._sleep = sleep
        self._held_until = float("-inf")
        self._seen: tuple[Any, float] = (None, clock())
        self._written: Document | None = None
        self._trouble = ""
        self._taken = asyncio.Event()
        self.refused = False
        """Whether this process has no right to leases, as far as it was told last."""

    @property
    def held(self) -> bool:
        """Whether this replica holds it now; ask before every step that only the holder may do."""
        return self._clock() < self._held_until

    async def wait_held(self) -> None:
        """Return when this replica holds it."""
        while not self.held:
            self._taken.clear()
            await self._taken.wait()

    async def run(self) -> None:
        """Claim and renew until cancelled."""
        while True:
            before = self.held
            try:
                await self.claim()
            except Exception as error:
                # Whatever it is: without this loop nobody would ever lead again.
                self._failed(error)
            else:
                self.refused, self._trouble = False, ""
            if self.held != before:
                _log.info("Lease taken" if self.held else "Lease lost", extra={"lease": self._name, "identity": self._identity})
            await self._sleep(_REFUSED_SECONDS if self.refused else self._duration / 5)

    def _failed(self, error: Exception) -> None:
        """Log a failure once, however often it repeats itself."""
        self._written = None
        told = isinstance(error, KubernetesError)
        self.refused = isinstance(error, KubernetesError) and error.code == _FORBIDDEN
        trouble = str(error) if told else repr(error)
        if trouble != self._trouble:
            what = _WITHOUT_RIGHTS if self.refused else "Lease can't be renewed"
            _log.warning(what, exc_info=None if told else error, extra={"lease": self._name, "cause": trouble})
        self._trouble = trouble

    async def claim(self) -> bool:
        """Return whether this replica holds the lease, after claiming or renewing it where it may."""
        began = self._clock()
        deadline = Deadline(self._duration / 3, clock=self._clock)
        wanted = await self._wanted(deadline)
        if wanted is None:
            self._held_until = float("-inf")
            return False
        try:
            exists = "resourceVersion" in wanted["metadata"]
            call = self._client.replace if exists else self._client.create
            written = await call(wanted, deadline=deadline)
        except (ObjectExists, ObjectNotFound):
            # Another replica was faster, or somebody deleted what this one wrote before.
            self._written, self._held_until = None, float("-inf")
            return False
        self._written = {**written, "kind": "Lease"}
        # Counted from before the call: the others count from when they see it, which is later.
        self._held_until = began + self._duration * 2 / 3
        self._taken.set()
        return True

    async def _wanted(self, deadline: Deadline) -> Document | None:
        """Return what to write; `None` where another replica holds it."""
        if self._written is not None:
            return self._document(self._written)
        try:
            found = await self._client.get("Lease", self._namespace, self._name, deadline=deadline)
        except ObjectNotFound:
            return self._document({})
        return self._document(found) if self._free(found) else None

    async def release(self) -> None:
        """Let another replica take over at once."""
        if not self.held:
            return
        self._written, self._held_until = None, float("-inf")
        deadline = Deadline(self._duration / 3, clock=self._clock)
        try:
            found = await self._client.get("Lease", self._namespace, self._name, deadline=deadline)
            if found["spec"].get("holderIdentity") == self._identity:
                await self._client.replace(
                    {**found, "kind": "Lease", "spec": {**found["spec"], "holderIdentity": ""}}, deadline=deadline
                )
        except KubernetesError as error:
            _log.info("Lease can't be released; it runs out by itself", extra={"lease": self._name, "cause": str(error)})

    def _free(self, found: Document) -> bool:
        """Tell whether this replica may take the lease: it is its own, nobody's, or its holder has been silent."""
        spec = found.get("spec") or {}
        holder, renewed = spec.get("holderIdentity") or "", (spec.get("holderIdentity"), spec.get("renewTime"))
        if holder in {"", self._identity}:
            return True
        now = self._clock()
        if self._seen[0] != renewed:
            self._seen = (renewed, now)
        return now - self._seen[1] >= self._duration

    def _document(self, found: Document) -> Document:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        before = found.get("spec") or {}
        mine = before.get("holderIdentity") == self._identity
        metadata = {"name": self._name, "namespace": self._namespace, **(found.get("metadata") or {})}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": int(self._duration),
                "acquireTime": before.get("acquireTime") if mine else now,
                "renewTime": now,
                "leaseTransitions": int(before.get("leaseTransitions") or 0) + (not mine),
            },
        }
