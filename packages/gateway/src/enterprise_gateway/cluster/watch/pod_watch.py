"""Waits for one kernel's pod: until it runs, until it ended, until it is gone."""

import asyncio
import time
from collections.abc import Callable

from enterprise_gateway.cluster.api.client import ClusterClient
from enterprise_gateway.cluster.api.events import last_warning
from enterprise_gateway.cluster.pods.annotations import Cause, Ending, ending_of, was_started
from enterprise_gateway.cluster.pods.diagnosis import (
    Graces,
    cause_of_end,
    cause_of_failure,
    exit_status,
    kind_of_trouble,
    waiting_words,
)
from enterprise_gateway.cluster.pods.last_words import with_last_words
from enterprise_gateway.cluster.pods.state import PodKey, PodState, is_later
from enterprise_gateway.cluster.watch.informer import Cache
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import Gone, LaunchFailed, LaunchTimeout

__all__ = ["PodWatch"]

_LOOK_AGAIN_SECONDS = 1.0
_DELETED_STATUS = 137


class PodWatch:
    """One pod as the informer sees it, told from other pods of its name by its uid.

    Parameters
    ----------
    uid
        `None` for a pod that is about to be made; `identify` tells it when it is known.
    seen
        The pod as it was seen by other eyes than the informer's, which may come to it later.
    on_change
        Called after each change.
    """

    def __init__(
        self,
        *,
        informer: Cache[PodState],
        key: PodKey,
        uid: str | None,
        seen: PodState | None = None,
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._informer = informer
        self._on_change = on_change
        self._clock = clock
        self.key = key
        self.uid = uid
        self._changed = asyncio.Event()
        self._last = seen
        self._gone = self._shown = False
        self._before: dict[str, PodState] = {}
        self._unsubscribe = informer.subscribe(self._notice)
        if present := informer.objects.get(key):
            self._notice(key, present)

    def identify(self, uid: str) -> None:
        """Tell which pod it is, whatever has become of it since it was made."""
        self.uid = uid
        self._last = self._before.get(uid)
        self._shown = self._last is not None
        present = self._informer.objects.get(self.key)
        self._gone = self._last is not None and (present is None or present.uid != uid)
        self._before.clear()
        self._changed.set()

    def close(self) -> None:
        """Stop listening."""
        self._unsubscribe()
        self._unsubscribe = lambda: None

    @property
    def state(self) -> PodState | None:
        """What was seen last; `None` before anything was."""
        return self._last

    @property
    def is_gone(self) -> bool:
        """Whether the pod's object doesn't exist any more."""
        return self._gone

    @property
    def alive(self) -> bool:
        """Whether the kernel runs or may yet; one that nobody has seen yet does."""
        return not self._gone and (self._last is None or not self._last.ended)

    @property
    def in_doubt(self) -> bool:
        """Whether the cluster doubts that the kernel runs, and nothing says that it doesn't."""
        pod = self._last
        if pod is None or not self.alive or self.ending is not None:
            return False
        # One that is deleted ends by itself within its own grace, unless its node isn't there to end it.
        return pod.node_silent or pod.deleting

    @property
    def exit_status(self) -> int | None:
        """The status with which the kernel ended; `None` while it is alive."""
        if self.alive:
            return None
        return exit_status(self._last) if self._last is not None and self._last.ended else _DELETED_STATUS

    @property
    def ending(self) -> Ending | None:
        """The end that a replica announced for this pod; `None` while none did."""
        return ending_of(self._last) if self._last is not None else None

    def words(self) -> str:
        """Return why the kernel ended."""
        if self._last is not None and self._last.ended:
            return cause_of_end(self._last)
        detail = f" {self._last.disruption}" if self._last is not None and self._last.disruption else ""
        return f"The kernel's pod was deleted.{detail}"

    async def why_it_never_answered(self, client: ClusterClient) -> str:
        """Return why a kernel ended that was still starting: with its last lines, though it may claim to have ended well."""
        if self._last is None or not self._last.ended:
            return self.words()
        return cause_of_end(await with_last_words(self._last, client))

    def trouble(self) -> str | None:
        """Return what keeps a starting pod from running just now."""
        return waiting_words(self._last) if self._last is not None and not self._last.ended else None

    async def ended(self) -> None:
        """Return when the kernel doesn't run any more."""
        while self.alive:
            await self._next_change()

    async def over(self) -> None:
        """Return when the kernel doesn't run any more, or the end that a replica announced has begun."""
        while self.alive and not (self._last is not None and self._last.deleting and self.ending is not None):
            await self._next_change()

    async def marked_as_started(self) -> None:
        """Return when a replica wrote that the kernel answers."""
        while self._last is None or not was_started(self._last):
            await self._next_change()

    async def runs_or_ended(self) -> PodState:
        """Return the pod as soon as it runs, or runs no more.

        Raises
        ------
        LaunchFailed
            It is gone.
        """
        while self._last is None or not (self._last.running or self._last.ended):
            if self._gone:
                raise LaunchFailed(self.words())
            await self._next_change()
        return self._last

    async def changed(self, seconds: float | None = None) -> None:
        """Return at the next change, or after some seconds."""
        await self._next_change(seconds)

    async def gone(self, deadline: Deadline | None = None) -> bool:
        """Return whether the pod's object is gone, as soon as it is and at the latest when the time is over."""
        try:
            async with asyncio.timeout(deadline.left() if deadline is not None else None):
                while not self._gone:
                    await self._next_change()
        except TimeoutError:
            return False
        return True

    async def running(self, *, client: ClusterClient, graces: Graces, deadline: Deadline) -> PodState:
        """Return the pod when it runs.

        Raises
        ------
        LaunchFailed
            It can't, with the cause; or doesn't in time, with what it waits for.
        Gone
            A client had the kernel deleted, through whichever replica.
        """
        trouble, since = None, self._clock()
        while True:
            state = self._last
            self._raise_where_deleted()
            if self._gone:
                raise LaunchFailed("The kernel's pod was deleted while it started.")
            if state is not None:
                if (kind := kind_of_trouble(state)) != trouble:
                    trouble, since = kind, self._clock()
                if cause := cause_of_failure(state, troubled_for=self._clock() - since, graces=graces):
                    raise LaunchFailed(await self.why_it_never_answered(client) if state.ended else cause)
                if state.running:
                    return state
            if deadline.left() <= 0:
                raise LaunchTimeout(await self._timeout_words(client, deadline))
            # A change wakes it at once; without one it looks whether a grace is over.
            await self._next_change(deadline.within(_LOOK_AGAIN_SECONDS))

    def _raise_where_deleted(self) -> None:
        """Raise `Gone` where a client had the kernel deleted, through whichever replica."""
        deleted = self._gone or (self._last is not None and self._last.deleting)
        if deleted and self.ending is not None and self.ending.cause is Cause.SHUTDOWN:
            raise Gone("The kernel was deleted while it started.")

    async def _timeout_words(self, client: ClusterClient, deadline: Deadline) -> str:
        state = self._last
        waited = f"The kernel's pod wasn't running within {deadline.seconds:.0f} seconds."
        if state is None:
            return f"{waited} {self._informer.trouble or 'The cluster has told nothing of it.'}"
        warning = await last_warning(client, namespace=state.namespace, uid=state.uid)
        return " ".join(filter(None, (waited, waiting_words(state), warning)))

    async def _next_change(self, seconds: float | None = None) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def _notice(self, key: PodKey, state: PodState | None) -> None:
        if key != self.key:
            return
        if self.uid is None:
            if state is not None:
                self._before[state.uid] = state
            return
        if state is not None and state.uid == self.uid:
            self._last, self._gone, self._shown = state, False, True
        elif self._shown or (state is not None and self._last is not None and is_later(state, self._last)):
            self._gone = True
        # Else the informer still tells of an older pod of this name, and comes to this one later.
        self._changed.set()
        self._on_change()
