"""One of several replicas at a time: the holder of a Lease does what only one may do.

The library's own leader election ends with the first connection that breaks and reads the wall clock; this one takes
a broken connection for a renewal that failed, and measures on the monotonic clock how long a holder has been silent.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from enterprise_gateway.cluster.client import ClusterClient, Document
from enterprise_gateway.cluster.deadline import Deadline
from enterprise_gateway.errors import KubernetesError, ObjectExists, ObjectNotFound

__all__ = ["Lease"]

_log = logging.getLogger(__name__)


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

    @property
    def held(self) -> bool:
        """Whether this replica holds it now; ask before every step that only the holder may do."""
        return self._clock() < self._held_until

    async def run(self) -> None:
        """Claim and renew until cancelled."""
        while True:
            before = self.held
            try:
                await self.claim()
            except KubernetesError as error:
                _log.warning("Lease can't be renewed", extra={"lease": self._name, "cause": str(error)})
            if self.held != before:
                _log.info("Lease taken" if self.held else "Lease lost", extra={"lease": self._name, "identity": self._identity})
            await self._sleep(self._duration / 5)

    async def claim(self) -> bool:
        """Return whether this replica holds the lease, after claiming or renewing it where it may."""
        began = self._clock()
        deadline = Deadline(self._duration / 3, clock=self._clock)
        try:
            found = await self._client.get("Lease", self._namespace, self._name, deadline=deadline)
        except ObjectNotFound:
            wanted = self._document({})
        else:
            if not self._free(found):
                self._held_until = float("-inf")
                return False
            wanted = self._document(found)
        try:
            if "resourceVersion" in wanted["metadata"]:
                await self._client.replace(wanted, deadline=deadline)
            else:
                await self._client.create(wanted, deadline=deadline)
        except ObjectExists:
            # Another replica was faster.
            self._held_until = float("-inf")
            return False
        # Counted from before the call: the others count from when they see it, which is later.
        self._held_until = began + self._duration * 2 / 3
        return True

    async def release(self) -> None:
        """Let another replica take over at once."""
        if not self.held:
            return
        self._held_until = float("-inf")
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
