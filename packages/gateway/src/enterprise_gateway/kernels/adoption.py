"""Kernels that outlive the gateway: found again at its start, and what the next one needs is written in time.

The cluster is the only store. What is known of a kernel stands on its pod and in its Secret, so a gateway that was killed
is followed by one that goes on with all of its kernels.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from enterprise_gateway.cluster.connection import ClusterConnection
from enterprise_gateway.errors import GatewayError, KernelspecNotFound
from enterprise_gateway.kernels.kernel import Kernel
from enterprise_gateway.kernels.registry import KernelFactory, Kernels
from enterprise_gateway.kernelspecs.catalogue import KernelspecCatalogue

if TYPE_CHECKING:
    from enterprise_gateway.cluster.store import KernelRecord

__all__ = ["Adoption"]

_log = logging.getLogger(__name__)

_ADOPTIONS_AT_ONCE = 64
_ANSWER_SECONDS = 5.0
_SYNC_SECONDS = 60.0


class Adoption:
    """Takes over kernels of the cluster, and keeps their records true.

    Parameters
    ----------
    cluster
        Where the records are.
    kernels, catalogue, make_kernel
        Who knows kernels, their kernelspecs, and makes their objects.
    orphan_age
        Seconds after which objects without a kernel are taken away; longer than any start takes.
    now
        The time of day, for what is written down.
    """

    def __init__(
        self,
        *,
        cluster: ClusterConnection,
        kernels: Kernels,
        catalogue: KernelspecCatalogue,
        make_kernel: KernelFactory,
        orphan_age: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._kernels = kernels
        self._catalogue = catalogue
        self._make_kernel = make_kernel
        self._orphan_age = orphan_age
        self._now = now
        self._recorded: dict[str, datetime] = {}

    async def adopt_all(self) -> None:
        """Return when every kernel of the cluster that this gateway doesn't know yet is known.

        Raises
        ------
        GatewayError
            The cluster doesn't answer.
        """
        services = await self._cluster.open()
        await services.ready(_SYNC_SECONDS)
        known = {kernel.kernel_id for kernel in self._kernels.all()}
        records = [record for record in await services.store.records() if record.kernel_id not in known]
        places = asyncio.Semaphore(_ADOPTIONS_AT_ONCE)

        async def adopt(record: "KernelRecord") -> None:
            async with places:
                await self._adopt(record)

        for record, result in zip(records, await asyncio.gather(*map(adopt, records), return_exceptions=True), strict=True):
            if isinstance(result, Exception):
                _log.error("A kernel can't be adopted", exc_info=result, extra={"kernel_id": record.kernel_id})

    async def _adopt(self, record: "KernelRecord") -> None:
        try:
            kernelspec = await self._catalogue.get(record.kernel_name)
        except KernelspecNotFound as error:
            fields = {"kernel_id": record.kernel_id, "kernelspec": record.kernel_name}
            _log.warning("A kernel runs whose kernelspec is gone; it is left alone", extra={**fields, "cause": error.message})
            return
        kernel, lifecycle = self._make_kernel(
            kernel_id=record.kernel_id, kernelspec=kernelspec, user=record.username, environment=record.environment
        )
        from enterprise_gateway.provisioners.kubernetes import KubernetesProvisioner

        provisioner = kernel.manager.provisioner
        if not isinstance(provisioner, KubernetesProvisioner):
            _log.warning("A kernelspec doesn't run kernels in the cluster any more", extra={"kernel_id": record.kernel_id})
            return
        provisioner.adopt(record)
        arguments = {"env": dict(record.environment), "kernel_id": record.kernel_id}
        kernel.manager.adopt(provisioner.connection_info, arguments)
        moment = _moment(record.last_activity) or _moment(record.pod.created)
        if moment is not None:
            kernel.restore_activity(moment)
            self._recorded[kernel.kernel_id] = moment
        await self._kernels.adopt(kernel, lifecycle, timeout=_ANSWER_SECONDS)
        if moment is not None:
            # Being asked whether it lives is no use that anybody made of it.
            kernel.restore_activity(moment)

    async def record_activity(self) -> None:
        """Write the last activity of every kernel whose activity isn't written yet."""
        if not self._cluster.connected:
            return
        kernels = {kernel.kernel_id: kernel for kernel in self._kernels.all() if kernel.outlives_gateway}
        self._recorded = {kernel_id: at for kernel_id, at in self._recorded.items() if kernel_id in kernels}
        changed = [kernel for kernel in kernels.values() if self._recorded.get(kernel.kernel_id) != kernel.last_activity]
        await asyncio.gather(*map(self._record, changed))

    async def _record(self, kernel: Kernel) -> None:
        services, moment = self._cluster.services, kernel.last_activity
        pods = (pod for pod in services.pods.objects.values() if pod.kernel_id == kernel.kernel_id and not pod.deleting)
        pod = next(pods, None)
        if pod is None:
            return
        try:
            await services.store.record_activity(pod, moment)
        except GatewayError as error:
            # Written again in the next round; only a gateway that dies before would cull by an older time.
            _log.warning("A kernel's activity can't be recorded", extra={"kernel_id": kernel.kernel_id, "cause": error.message})
        else:
            self._recorded[kernel.kernel_id] = moment

    async def collect_orphans(self) -> None:
        """Take away what gateways left that died in the middle of a start."""
        if not self._cluster.connected:
            return
        taken = await self._cluster.services.store.collect_orphans(older_than=self._orphan_age, now=self._now())
        for name in taken:
            _log.info("Orphan taken away", extra={"object": name})


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
