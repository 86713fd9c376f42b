"""Deletes what is queued for deletion, however long the API server is away.

Who asks for it waits for a moment only: a client that is told of a failed start must not wait for a server that doesn't
answer. What isn't gone by then goes as soon as the server is back. Where this process ends before, the collector of
orphans of the next one comes for it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import NamedTuple

from enterprise_gateway.cluster.api.client import ClusterClient
from enterprise_gateway.cluster.pods.state import PodState
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import KubernetesError, ObjectExists, ObjectNotFound
from enterprise_gateway_common import labels

__all__ = ["PendingDeletion", "Removal"]

_log = logging.getLogger(__name__)

_LONGEST_ABSENCE_SECONDS = 3600.0


class PendingDeletion(NamedTuple):
    """An object queued for deletion."""

    kernel_id: str
    kind: str
    namespace: str | None
    name: str
    uid: str | None = None
    """`None` where it has to be asked for: nobody knows whether it exists, or another process made it."""
    launch_id: str = ""
    """The start that made it, where its uid isn't known; empty for whichever start of the kernel."""
    grace: int | None = None
    annotations: Mapping[str, str] = MappingProxyType({})
    """What the other replicas must find on it before it goes, though they couldn't be told so far."""


class Removal:
    """Takes objects away in the order in which they are named, one group beside the other.

    Parameters
    ----------
    client
        Repeats a call that isn't answered.
    """

    def __init__(self, *, client: ClusterClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._tasks: set[asyncio.Task[bool]] = set()
        self._pending: list[PendingDeletion] = []

    def is_pending(self, pod: PodState) -> bool:
        """Tell whether a pod is only there because the cluster hasn't taken it away yet."""
        return any(
            item.kind == "Pod"
            and item.kernel_id == pod.kernel_id
            and (item.uid == pod.uid or (item.uid is None and item.launch_id == pod.launch_id))
            for item in self._pending
        )

    async def take_away(self, objects: Iterable[PendingDeletion], *, patience: float) -> bool:
        """Return whether all of some objects are deleted within `patience` seconds; the rest goes on without the caller.

        A caller that is cancelled cancels nothing but its waiting.
        """
        task = asyncio.create_task(self._take_all(tuple(objects)))
        # The loop itself keeps no task alive.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait({task}, timeout=patience)
        return task.done() and task.result()

    async def stop(self) -> None:
        """Give up what isn't gone yet."""
        for task in tuple(self._tasks):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _take_all(self, objects: Sequence[PendingDeletion]) -> bool:
        self._pending += objects
        try:
            return await self._take_each(objects)
        finally:
            for item in objects:
                self._pending.remove(item)

    async def _take_each(self, objects: Sequence[PendingDeletion]) -> bool:
        deadline = Deadline(_LONGEST_ABSENCE_SECONDS, clock=self._clock)
        taken = True
        for item in objects:
            fields = {"kernel_id": item.kernel_id, "kind": item.kind, "object": item.name}
            try:
                await self._take(item, deadline)
            except KubernetesError as error:
                # The others may still go; the collector of orphans comes for this one.
                _log.error("An object of a kernel is left", extra={**fields, "cause": str(error)})
                taken = False
            except asyncio.CancelledError:
                _log.warning("An object of a kernel is left: the gateway ends before the cluster answers", extra=fields)
                raise
        return taken

    async def _take(self, item: PendingDeletion, deadline: Deadline) -> None:
        uid = item.uid or await self._uid_of(item, deadline)
        if uid is None:
            return
        if item.annotations:
            body = {"metadata": {"uid": uid, "annotations": dict(item.annotations)}}
            with suppress(ObjectNotFound, ObjectExists):
                await self._client.patch(item.kind, item.namespace, item.name, body, deadline=deadline)
        await self._client.delete(item.kind, item.namespace, item.name, uid=uid, grace=item.grace, deadline=deadline)

    async def _uid_of(self, item: PendingDeletion, deadline: Deadline) -> str | None:
        """Return the uid of an object, where it is the one that is meant."""
        try:
            found = await self._client.get(item.kind, item.namespace, item.name, deadline=deadline)
        except ObjectNotFound:
            return None
        own = found["metadata"].get("labels") or {}
        meant = own.get(labels.KERNEL_ID) == item.kernel_id and item.launch_id in {"", own.get(labels.KERNEL_LAUNCH)}
        uid: str = found["metadata"]["uid"]
        return uid if meant else None
