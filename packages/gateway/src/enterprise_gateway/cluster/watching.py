"""Waits for one kernel's pod: until it runs, until it ended, until it is gone."""

import asyncio
import time
from collections.abc import Callable

from enterprise_gateway.cluster.client import ClusterClient
from enterprise_gateway.cluster.deadline import Deadline
from enterprise_gateway.cluster.diagnosis import Graces, cause_of_end, cause_of_failure, exit_status, waiting_words
from enterprise_gateway.cluster.events import last_warning
from enterprise_gateway.cluster.informer import Informer
from enterprise_gateway.cluster.pods import PodKey, PodState
from enterprise_gateway.errors import LaunchFailed, LaunchTimeout

__all__ = ["PodWatch"]

_LOOK_AGAIN_SECONDS = 1.0
_DELETED_STATUS = 137


class PodWatch:
    """One pod as the informer sees it, told from other pods of its name by its uid."""

    def __init__(
        self,
        *,
        informer: Informer[PodState],
        key: PodKey,
        uid: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._informer = informer
        self._clock = clock
        self.key = key
        self.uid = uid
        self._changed = asyncio.Event()
        self._last: PodState | None = None
        self._gone = False
        self._unsubscribe = informer.subscribe(self._notice)
        if present := informer.objects.get(key):
            self._notice(key, present)

    def close(self) -> None:
        """Stop listening."""
        self._unsubscribe()
        self._unsubscribe = lambda: None

    @property
    def state(self) -> PodState | None:
        """What was seen last; `None` before anything was."""
        return self._last

    @property
    def alive(self) -> bool:
        """Whether the kernel runs or may yet; one that nobody has seen yet does."""
        return not self._gone and (self._last is None or not self._last.ended)

    @property
    def exit_status(self) -> int | None:
        """The status with which the kernel ended; `None` while it is alive."""
        if self.alive:
            return None
        return exit_status(self._last) if self._last is not None and self._last.ended else _DELETED_STATUS

    def words(self) -> str:
        """Return why the kernel ended."""
        if self._last is not None and self._last.ended:
            return cause_of_end(self._last)
        detail = f" {self._last.disruption}" if self._last is not None and self._last.disruption else ""
        return f"The kernel's pod was deleted.{detail}"

    def trouble(self) -> str | None:
        """Return what keeps a starting pod from running just now."""
        return waiting_words(self._last) if self._last is not None and not self._last.ended else None

    async def ended(self) -> None:
        """Return when the kernel doesn't run any more."""
        while self.alive:
            await self._next_change()

    async def gone(self, deadline: Deadline) -> bool:
        """Return whether the pod's object is gone, as soon as it is and at the latest when the time is over."""
        try:
            async with asyncio.timeout(deadline.left()):
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
        """
        trouble, since = None, self._clock()
        while True:
            state = self._last
            if self._gone:
                raise LaunchFailed("The kernel's pod was deleted while it started.")
            if state is not None:
                if waiting_words(state) != trouble:
                    trouble, since = waiting_words(state), self._clock()
                if cause := cause_of_failure(state, troubled_for=self._clock() - since, graces=graces):
                    raise LaunchFailed(cause)
                if state.running:
                    return state
            if deadline.left() <= 0:
                raise LaunchTimeout(await self._timeout_words(client, deadline))
            # A change wakes it at once; without one it looks whether a grace is over.
            await self._next_change(deadline.within(_LOOK_AGAIN_SECONDS))

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
        if state is not None and state.uid == self.uid:
            self._last = state
        elif self._last is not None:
            self._gone = True
        self._changed.set()
