"""Keeps processes of this machine ready for starts, as many as settings and kernelspecs say."""

import asyncio
import logging
import uuid
from collections.abc import Mapping
from contextlib import suppress

from enterprise_gateway.errors import GatewayError
from enterprise_gateway.kernels.rules import RulesInForce
from enterprise_gateway.kernelspecs.catalogue import Kernelspec, KernelspecCatalogue
from enterprise_gateway.launch.pool_demand import Demand
from enterprise_gateway.launch.pool_size import PoolSize, read_pool_config
from enterprise_gateway.launch.variables import KernelVariables
from enterprise_gateway.provisioners.local_pool import LocalPool, ProcessKind, kind_of
from enterprise_gateway.provisioners.registry import runs_here
from enterprise_gateway_common.kernelspec_metadata import provisioner_config

__all__ = ["LocalPools"]

_log = logging.getLogger(__name__)

_ROUND_SECONDS = 10.0
# The next process begins when the kernel that was claimed has: its user waits for that one.
_PAUSE_SECONDS = 1.0


class LocalPools:
    """Keeps them.

    Parameters
    ----------
    sizes
        How many processes wait, by kernelspec in lower case; those that it doesn't name say it themselves.
    catalogue, rules
        Which kernelspecs there are, and what reaches their kernels.
    """

    def __init__(self, *, sizes: Mapping[str, PoolSize], catalogue: KernelspecCatalogue, rules: RulesInForce) -> None:
        self.processes = LocalPool(claimed=self._claimed)
        self._sizes = sizes
        self._catalogue = catalogue
        self._rules = rules
        self._demand: dict[ProcessKind, Demand] = {}
        self._wake = asyncio.Event()
        self._trouble: dict[str, str] = {}

    def _claimed(self, kind: ProcessKind) -> None:
        self._demand.setdefault(kind, Demand()).started()
        self._wake.set()

    async def run(self) -> None:
        """Keep the pools until cancelled; then nothing waits any more."""
        try:
            while True:
                await self.round()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_ROUND_SECONDS):
                        await self._wake.wait()
                await asyncio.sleep(_PAUSE_SECONDS)
                self._wake.clear()
        finally:
            self.processes.close()

    async def round(self) -> None:
        """Look once at every kernelspec whose kernels are processes of this machine."""
        wanted: dict[ProcessKind, int] = {}
        names: dict[ProcessKind, str] = {}
        for kernelspec in (await self._catalogue.all()).values():
            if runs_here(kernelspec.spec) and (found := self._wanted(kernelspec)) is not None:
                kind, size = found
                wanted[kind] = self._demand.setdefault(kind, Demand()).wanted(size)
                names[kind] = kernelspec.name
        self.processes.keep_only(wanted)
        for kind, count in wanted.items():
            for _ in range(count - self.processes.count(kind)):
                try:
                    self.processes.add(kind)
                except OSError as error:
                    self._tell(names[kind], f"its program can't be executed: {error.strerror}")
                    break

    def _wanted(self, kernelspec: Kernelspec) -> tuple[ProcessKind, PoolSize] | None:
        name = kernelspec.name
        try:
            told = self._sizes.get(name.lower())
            size = read_pool_config(provisioner_config(kernelspec.metadata).get("warm_pool") or {}) if told is None else told
            if size.maximum == 0:
                return None
            request = self._rules.launch_request(str(uuid.uuid4()), "", kernelspec, KernelVariables())
        except GatewayError as error:
            self._tell(name, error.message)
            return None
        kind = kind_of(kernelspec.spec.argv, request.environment)
        if kind is None:
            self._tell(name, "only IPython kernels of this machine can have one, whose command is python -m ipykernel_launcher")
            return None
        return kind, size

    def _tell(self, name: str, trouble: str) -> None:
        if self._trouble.get(name) != trouble:
            self._trouble[name] = trouble
            _log.warning("A kernelspec's pool can't be kept", extra={"kernelspec": name, "cause": trouble})
