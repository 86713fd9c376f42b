"""One cache of several namespaces, for who may look into no other: a watch for each of them."""

import asyncio
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from enterprise_gateway.cluster.watch.informer import Informer, Key, Keyed
from enterprise_gateway.deadline import Deadline

__all__ = ["JoinedCache"]

T = TypeVar("T", bound=Keyed)


class JoinedCache(Generic[T]):
    """The objects of several informers as those of one.

    Parameters
    ----------
    informers
        One for each namespace.
    """

    def __init__(self, informers: Sequence[Informer[T]]) -> None:
        self._informers = tuple(informers)
        # ChainMap only reads here.
        self._objects: Mapping[Key, T] = ChainMap(*(informer.objects for informer in self._informers))  # type: ignore[arg-type]  # as above

    @property
    def objects(self) -> Mapping[Key, T]:
        """The cache as it is now."""
        return self._objects

    @property
    def trouble(self) -> str | None:
        """Why a part of the cache may be old; `None` while all watches run."""
        return next((informer.trouble for informer in self._informers if informer.trouble), None)

    @property
    def in_order(self) -> bool:
        """Whether changes are told in the order in which they came about: two watches know nothing of each other."""
        return len(self._informers) == 1 and self._informers[0].in_order

    def subscribe(self, handler: Callable[[Key, T | None], None]) -> Callable[[], None]:
        """Have a function called for each change; call what is returned to end that."""
        ends = [informer.subscribe(handler) for informer in self._informers]

        def unsubscribe() -> None:
            for end in ends:
                end()

        return unsubscribe

    @property
    def synced(self) -> bool:
        """Whether there has been a first list of every namespace."""
        return all(informer.synced for informer in self._informers)

    @property
    def lost_seconds(self) -> float:
        """How long there has been no news of some namespace because its watch is broken; 0 while all watches run."""
        return max(informer.lost_seconds for informer in self._informers)

    async def wait_synced(self, deadline: Deadline) -> None:
        """Return when there has been a first list of every namespace.

        Raises
        ------
        KubernetesUnavailable
            There is none in time.
        """
        for informer in self._informers:
            await informer.wait_synced(deadline)

    async def run(self) -> None:
        """Keep all of it up to date until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers:
                group.create_task(informer.run())
