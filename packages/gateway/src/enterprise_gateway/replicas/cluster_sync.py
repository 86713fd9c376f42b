"""Whether this gateway knows every kernel of the cluster: only then can it deny one, list all, or count them.

A client takes a kernel that isn't listed, or isn't found, for gone, and forgets it with its session. So until all of them
are known, at the start and when there was no news of the cluster for too long, the answer is that it can't be told now.
"""

import asyncio
from enum import Enum, auto

from enterprise_gateway.cluster.connection import ClusterConnection
from enterprise_gateway.cluster.watch.informer import Cache, Keyed
from enterprise_gateway.errors import ClusterNotSynced

__all__ = ["ClusterSync"]

_RETRY_SECONDS = 2.0
_RETRY_LOST_SECONDS = 10.0


class _Phase(Enum):
    UNDECIDED = auto()
    """Nobody has looked yet whether a kernelspec runs kernels in the cluster."""
    NOT_NEEDED = auto()
    """None does, or there is no cluster."""
    SYNCING = auto()
    SYNCED = auto()


class ClusterSync:
    """Refuses what needs all kernels of the cluster, for as long as not all of them are known.

    Parameters
    ----------
    cluster
        Where the kernels are.
    loss_grace
        Seconds without news of the cluster for which what was known last is still told.
    """

    def __init__(self, *, cluster: ClusterConnection, loss_grace: float) -> None:
        self._cluster = cluster
        self._loss_grace = loss_grace
        self._phase = _Phase.UNDECIDED if cluster.may_exist else _Phase.NOT_NEEDED
        self._decided = asyncio.Event()
        if not self.pending:
            self._decided.set()

    @property
    def done(self) -> bool:
        """Whether the kernels of the cluster were found."""
        return self._phase is _Phase.SYNCED

    @property
    def pending(self) -> bool:
        """Whether they are still to be found, as far as anybody knows."""
        return self._phase in {_Phase.UNDECIDED, _Phase.SYNCING}

    def not_needed(self) -> None:
        """Note that there are no kernels in a cluster to be found; changes nothing once they were."""
        if not self.done:
            self._phase = _Phase.NOT_NEEDED
            self._decided.set()

    def begin(self) -> None:
        """Note that there may be kernels in the cluster that aren't known; changes nothing once all were found."""
        if not self.done:
            self._phase = _Phase.SYNCING
            self._decided.clear()

    def finish(self) -> None:
        """Note that all kernels of the cluster are known."""
        self._phase = _Phase.SYNCED
        self._decided.set()

    async def decided(self) -> None:
        """Return when there is nothing to be found any more."""
        await self._decided.wait()

    def check(self) -> None:
        """Return where every kernel is known that there is.

        Raises
        ------
        ClusterNotSynced
            There may be others.
        """
        if self.pending:
            raise self.not_yet()
        if self.done:
            self._check_news(self._cluster.services.pods)

    def check_images(self) -> None:
        """Return where everything is known that image pullers say.

        Raises
        ------
        ClusterNotSynced
            There may be more.
        """
        self.check()
        if self.done:
            pullers = self._cluster.services.pullers
            if not pullers.synced:
                raise self.not_yet()
            self._check_news(pullers)

    def not_yet(self) -> ClusterNotSynced:
        """Return the error for who can't wait for the kernels to be found."""
        return ClusterNotSynced(
            "The gateway has only just started and doesn't know all kernels of the cluster yet. Try again in a moment.",
            retry_after=_RETRY_SECONDS,
        )

    def _check_news(self, cache: Cache[Keyed]) -> None:
        if cache.lost_seconds > self._loss_grace:
            raise ClusterNotSynced(
                "The gateway has lost touch with the cluster and can't tell which kernels there are. Kernels that it knows can "
                "be used. Try again later.",
                retry_after=_RETRY_LOST_SECONDS,
            )
