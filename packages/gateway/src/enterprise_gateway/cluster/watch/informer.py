"""A cache of some objects of the cluster that keeps itself up to date: one list, then a watch, for ever.

Whatever happens to the connection, the cache comes right again by itself: a watch that ends is resumed where it
was, one that is too old is begun anew with a list, a server that doesn't answer is asked again, ever more rarely. While
there is no connection, the cache stays as it was, and looking at it never waits.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, Protocol, TypeVar

import tenacity

from enterprise_gateway.cluster.api.client import ClusterClient, Document
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import KubernetesError, KubernetesUnavailable, ResourceExpired

__all__ = ["Cache", "Informer", "Keyed"]

_log = logging.getLogger(__name__)

Key = tuple[str, str]

_LIST_SECONDS = 30.0
_SHORTEST_WATCH, _LONGEST_WATCH = 240, 360
_QUICK_END_SECONDS = 1.0
_BREATH_SECONDS = 0.2


class Keyed(Protocol):
    """What is kept of an object."""

    @property
    def key(self) -> Key:
        """Namespace and name."""

    @property
    def uid(self) -> str:
        """Tells it from another object of the same name."""


T = TypeVar("T", bound=Keyed)
T_co = TypeVar("T_co", bound=Keyed, covariant=True)
Handler = Callable[[Key, T | None], None]


class Cache(Protocol[T_co]):
    """Some objects of the cluster as they are now, and who wants to hear of changes."""

    @property
    def trouble(self) -> str | None:
        """Why the cache may be old; `None` while it isn't."""

    @property
    def objects(self) -> Mapping[Key, T_co]:
        """The cache as it is now."""

    @property
    def in_order(self) -> bool:
        """Whether changes are told in the order in which they came about."""

    def subscribe(self, handler: Callable[[Key, T_co | None], None]) -> Callable[[], None]:
        """Have a function called for each change; call what is returned to end that."""

    @property
    def synced(self) -> bool:
        """Whether there has been a first list."""

    @property
    def lost_seconds(self) -> float:
        """How long there has been no news because the watch is broken; 0 while it runs."""

    async def wait_synced(self, deadline: Deadline) -> None:
        """Return when there has been a first list."""

    async def run(self) -> None:
        """Keep the cache up to date until cancelled."""


class Informer(Generic[T]):
    """The objects of one kind that have certain labels.

    Parameters
    ----------
    namespace
        Where to look; `None` for every namespace.
    convert
        Makes what is kept of an object.
    """

    def __init__(
        self,
        *,
        client: ClusterClient,
        kind: str,
        namespace: str | None,
        label_selector: str,
        convert: Callable[[Document], T],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._kind = kind
        self._namespace = namespace
        self._selector = label_selector
        self._convert = convert
        self._clock = clock
        self._sleep = sleep
        self._objects: dict[Key, T] = {}
        self._handlers: list[Handler[T]] = []
        self._version: str | None = None
        self._synced = asyncio.Event()
        self._last_contact = clock()
        self.in_order = True
        """Whether changes are told in the order in which they came about: those of a watch are, those of a list aren't."""
        self.trouble: str | None = None
        """Why the cache may be old; `None` while the watch runs."""

    @property
    def objects(self) -> Mapping[Key, T]:
        """The cache as it is now."""
        return self._objects

    def subscribe(self, handler: Handler[T]) -> Callable[[], None]:
        """Have a function called for each change; call what is returned to end that."""
        self._handlers.append(handler)
        return lambda: self._handlers.remove(handler)

    @property
    def synced(self) -> bool:
        """Whether there has been a first list."""
        return self._synced.is_set()

    @property
    def lost_seconds(self) -> float:
        """How long there has been no news because the watch is broken; 0 while it runs."""
        return 0.0 if self.trouble is None else self._clock() - self._last_contact

    def _in_contact(self) -> None:
        self.trouble, self._last_contact = None, self._clock()

    async def wait_synced(self, deadline: Deadline) -> None:
        """Return when there has been a first list.

        Raises
        ------
        KubernetesUnavailable
            There is none in time.
        """
        try:
            async with asyncio.timeout(deadline.left()):
                await self._synced.wait()
        except TimeoutError as error:
            raise KubernetesUnavailable(self.trouble or "no answer yet", kind=self._kind) from error

    async def run(self) -> None:
        """Keep the cache up to date until cancelled; it never gives up."""
        while True:
            async for attempt in tenacity.AsyncRetrying(
                retry=tenacity.retry_if_exception_type(KubernetesError),
                wait=_pause,
                sleep=self._sleep,
                before_sleep=self._report,
            ):
                with attempt:
                    await self._follow_or_begin_anew()

    async def _follow_or_begin_anew(self) -> None:
        try:
            await self._follow()
        except KubernetesError:
            raise
        except Exception as error:
            # A cache that stops coming right is worse than any object that can't be understood.
            _log.exception("Watch failed", extra={"kind": self._kind})
            self._version = None
            raise KubernetesUnavailable(f"the watch failed with {type(error).__name__}", kind=self._kind) from error

    def _report(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self.trouble = str(error)
        _log.warning("Watch interrupted", extra={"kind": self._kind, "attempt": state.attempt_number, "cause": str(error)})

    async def _follow(self) -> None:
        """List where that is needed, then watch until the watch ends; raise only where nothing came of it."""
        if self._version is None:
            listed, self._version = await self._client.list_as(
                self._kind,
                self._namespace,
                self._convert,
                label_selector=self._selector,
                deadline=Deadline(_LIST_SECONDS, clock=self._clock),
            )
            self._take_list(listed)
            self._in_contact()
        began, served = self._clock(), False
        try:
            async for kind_of_change, document in self._client.watch(
                self._kind,
                self._namespace,
                label_selector=self._selector,
                version=self._version,
                seconds=random.randint(_SHORTEST_WATCH, _LONGEST_WATCH),  # noqa: S311  it only spreads load
                opened=self._in_contact,
            ):
                served, self._last_contact = True, self._clock()
                self._version = document["metadata"]["resourceVersion"]
                self._take(kind_of_change, document)
        except ResourceExpired:
            self._version = None
            return
        except KubernetesError:
            if not served:
                raise
        if self._clock() - began < _QUICK_END_SECONDS:
            # A server that ends each watch at once must not be asked in a hot loop.
            if not served:
                raise KubernetesUnavailable("the watch ended at once", kind=self._kind)
            await self._sleep(_BREATH_SECONDS)

    def _take_list(self, made_of_all: list[T]) -> None:
        listed = {made.key: made for made in made_of_all}
        self.in_order = False
        for key in [key for key in self._objects if key not in listed]:
            del self._objects[key]
            self._tell(key, None)
        for key, made in listed.items():
            if self._objects.get(key) != made:
                self._objects[key] = made
                self._tell(key, made)
        self.in_order = True
        self._synced.set()

    def _take(self, change: str, document: Document) -> None:
        if change == "BOOKMARK":
            return
        made = self._convert(document)
        if change == "DELETED":
            # A late word of an older object of this name says nothing of the present one.
            if (present := self._objects.get(made.key)) is not None and present.uid == made.uid:
                del self._objects[made.key]
                self._tell(made.key, None)
            return
        self._objects[made.key] = made
        self._tell(made.key, made)

    def _tell(self, key: Key, made: T | None) -> None:
        for handler in tuple(self._handlers):
            try:
                handler(key, made)
            except Exception:
                _log.exception("A handler of changes failed", extra={"kind": self._kind, "object": "/".join(key)})


_backoff = tenacity.wait_exponential_jitter(multiplier=0.2, max=20.0, jitter=1.0)


def _pause(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, KubernetesUnavailable) else None
    return asked if asked is not None else _backoff(state)
