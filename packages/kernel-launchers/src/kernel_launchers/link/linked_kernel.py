"""A kernel that only its supervisor speaks with, from its connection file on.

What listens for gateways is loaded once the kernel's program has been started: its import takes as long as that program takes
to come up.
"""

from typing import TYPE_CHECKING, Any, Dict, Optional

from enterprise_gateway_common.connection import SupervisorSettings
from kernel_launchers.link.loopback import write_loopback_file
from kernel_launchers.traits import KernelTraits

if TYPE_CHECKING:
    from kernel_launchers.link.keeper import Keeper
    from kernel_launchers.supervisor.supervisor import Supervisor

__all__ = ["LinkedKernel"]


class LinkedKernel:
    """Gives the kernel its connection file before each start, and gateways the kernel.

    Parameters
    ----------
    settings
        Where and for whom to listen, and how much to keep.
    connection_path
        Where the kernel's own connection file is written.
    key, kernel_name
        What stands in it.
    traits
        What the kernel can.
    """

    def __init__(
        self, *, settings: SupervisorSettings, connection_path: str, key: str, kernel_name: str, traits: KernelTraits
    ) -> None:
        self._settings = settings
        self._path = connection_path
        self._key = key
        self._kernel_name = kernel_name
        self._traits = traits
        self._starts = 0
        self._info: Dict[str, Any] = {}
        self._keeper: "Optional[Keeper]" = None

    def prepare(self) -> None:
        """Write the connection file for a kernel that is about to be started."""
        self._starts += 1
        self._info = write_loopback_file(
            self._path,
            key=self._key,
            kernel_name=self._kernel_name,
            unix_sockets=self._traits.unix_sockets,
            start=self._starts,
        )

    def begin(self, supervisor: "Supervisor") -> None:
        """Listen for gateways.

        Raises
        ------
        NotInstalled
            ZeroMQ in this image can't authenticate them.
        """
        from kernel_launchers.link.keeper import Keeper

        self._keeper = Keeper(
            settings=self._settings,
            key=self._key,
            supervisor=supervisor,
            connection=lambda: self._info,
            traits=self._traits,
        )

    def ready_for_claim(self) -> None:
        """Take note that what waits for a claim is ready for it."""
        if self._keeper is not None:
            self._keeper.ready_for_claim()

    def kernel_ended(self, cause: Optional[str], *, final: bool) -> bool:
        """Take note of the kernel's end; tell whether it may be started again."""
        return self._keeper is not None and self._keeper.kernel_ended(cause, final=final)

    def close(self) -> None:
        """Listen no more."""
        if self._keeper is not None:
            self._keeper.close()
