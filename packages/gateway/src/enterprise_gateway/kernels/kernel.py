"""One kernel as the gateway knows it: who owns it, what state it is in, and how to reach its sockets.

Only the state lives here. What happens to a kernel is decided in `lifecycle`; what its messages say of it is read in
`activity`; its clients read what it says, and what becomes of it, from the log of its `link`.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from enterprise_gateway.errors import LaunchFailed
from enterprise_gateway.kernels.manager import GatewayKernelManager
from enterprise_gateway.kernelspecs.catalogue import Kernelspec
from enterprise_gateway.launch.proxy_ports import OpenPorts
from enterprise_gateway.links.link import KernelLink
from enterprise_gateway.provisioners.exits import waiting_words
from enterprise_gateway_common.kernel_messages.busy_requests import BusyRequests
from enterprise_gateway_common.kernel_messages.message_types import is_activity

__all__ = ["ExecutionState", "Kernel"]


class ExecutionState(StrEnum):
    """What a kernel is doing; the words are those of Jupyter's protocol."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    RESTARTING = "restarting"
    DEAD = "dead"


_RUNNING = frozenset({ExecutionState.IDLE, ExecutionState.BUSY})


class Kernel:
    """State of one kernel, from the moment its start was accepted until it is forgotten.

    Parameters
    ----------
    kernel_id
        UUID in lower case.
    kernelspec
        What it was started from.
    user
        Its owner.
    manager
        jupyter_client's manager of its process or pod.
    link
        The gateway's connection to it.
    outlives_gateway
        Whether it goes on when the gateway ends, and is found again by the next one.
    clock
        Seconds that only go forward; idle time is measured by it.
    """

    def __init__(
        self,
        *,
        kernel_id: str,
        kernelspec: Kernelspec,
        user: str,
        manager: GatewayKernelManager,
        link: KernelLink,
        outlives_gateway: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kernel_id = kernel_id
        self.kernelspec = kernelspec
        self.user = user
        self.outlives_gateway = outlives_gateway
        self.manager = manager
        self.link = link
        self.connections = 0
        self.reason: str | None = None
        self.execution_state: str = ExecutionState.STARTING
        self.busy_requests = BusyRequests()
        self.last_activity = datetime.now(UTC)
        self._clock = clock
        self._active_at = clock()
        self._spared_at = float("-inf")
        self._disconnected_at = float("-inf")
        self._claim_by = float("inf")
        self.was_claimed = False
        """Whether somebody asked this process for it, by whatever request that names it."""
        self._settled = asyncio.Event()  # means: it is neither starting nor restarting

    # ---------------------------------------------------------------------------------------------------- reaching it

    @property
    def name(self) -> str:
        """Name of its kernelspec."""
        return self.kernelspec.name

    @property
    def open_ports(self) -> OpenPorts | None:
        """What of its pod can be reached through the gateway; `None` where it has no pod."""
        return getattr(self.manager.provisioner, "open_ports", None)

    def connect(self) -> None:
        """Reach the kernel as it runs now; what the process before it was doing is over."""
        self.busy_requests.clear()
        supervisor = getattr(self.manager.provisioner, "supervisor", None)
        self.link.connect(self.manager.get_connection_info(), supervisor=supervisor)

    # ------------------------------------------------------------------------------------------------------- activity

    @property
    def idle_seconds(self) -> float:
        """Seconds since a person or program last used the kernel."""
        return self._clock() - self._active_at

    @property
    def unconnected_seconds(self) -> float:
        """Seconds since a client was last connected; 0 while one is, infinite where none ever was."""
        return 0.0 if self.connections > 0 else self._clock() - self._disconnected_at

    def touch(self) -> None:
        """Note that a person or program used the kernel just now."""
        self.last_activity = datetime.now(UTC)
        self._active_at = self._clock()

    def restore_activity(self, moment: datetime) -> None:
        """Take over when something last happened, from who knew the kernel before."""
        self.last_activity = moment
        self._active_at = self._clock() - max(0.0, (datetime.now(UTC) - moment).total_seconds())

    @property
    def spared_seconds(self) -> float:
        """Seconds since another replica said that the kernel is in use; infinite where none has."""
        return self._clock() - self._spared_at

    def spare(self, seconds_ago: float) -> None:
        """Note that another replica says that the kernel is in use."""
        self._spared_at = max(self._spared_at, self._clock() - seconds_ago)

    def expect_claim(self, seconds: float) -> None:
        """Take note that a client was told of the kernel before it was up, and has so long to ask for it."""
        self._claim_by = self._clock() + seconds

    def claim(self) -> None:
        """Take note that somebody asked for the kernel."""
        self.was_claimed = True

    @property
    def is_unclaimed(self) -> bool:
        """Whether nobody asked for the kernel in the time that its client had, as far as it is known here."""
        return not self.was_claimed and self._clock() >= self._claim_by

    def client_connected(self) -> None:
        """Count a client that connected; by itself that is no use of the kernel."""
        self.connections += 1

    def client_disconnected(self) -> None:
        """Count a client that went away."""
        self.connections -= 1
        self._disconnected_at = self._clock()

    def client_message(self, message_type: str) -> None:
        """Note that a client sent something, which is use of the kernel or a mere question."""
        if is_activity(message_type):
            self.touch()

    # ---------------------------------------------------------------------------------------------------- its changes

    async def wait_until_ready(self) -> None:
        """Return as soon as the kernel is neither starting nor restarting.

        Raises
        ------
        LaunchFailed
            It is dead.
        """
        await self._settled.wait()
        if self.execution_state == ExecutionState.DEAD:
            raise LaunchFailed(self.reason or f"Kernel {self.kernel_id} is dead.", reason="Kernel is dead")

    def adopted(self) -> None:
        """Leave the starting state without having started: it runs, and may be in the middle of something."""
        self.busy_requests.assume()
        self.execution_state = ExecutionState.BUSY
        self._up(told=False)

    def answered(self) -> None:
        """Leave the starting state: the kernel said that it is done with a first question."""
        self._leave(ExecutionState.STARTING)

    def started_elsewhere(self) -> None:
        """Leave the starting state: the kernel answers, and the start was another process' doing."""
        told = self.execution_state != ExecutionState.STARTING
        self.answered()
        self._up(told=told)

    def _up(self, *, told: bool) -> None:
        """Let clients use it; its state is theirs to know, where the kernel itself hasn't said it yet."""
        self._settled.set()
        self.link.up(None if told else str(self.execution_state))

    def follow_requests(self) -> None:
        """Be busy or idle, as the requests that the kernel works on say; where it runs at all."""
        if self.execution_state in _RUNNING:
            self._leave(self.execution_state)

    def _leave(self, state: str) -> None:
        if self.execution_state == state:
            self.execution_state = ExecutionState.BUSY if self.busy_requests else ExecutionState.IDLE

    def started(self) -> None:
        """Leave the starting state: the kernel answers."""
        self.touch()
        self.started_elsewhere()

    def restarting(self, reason: str | None, *, in_place: bool = False) -> None:
        """Enter the restarting state; `reason` is the cause of a death, and nothing where a restart was asked for."""
        self.execution_state, self.reason = ExecutionState.RESTARTING, reason
        self._settled.clear()
        self.link.restarting(reason, in_place=in_place)

    def restarted(self) -> None:
        """Leave the restarting state: what clients sent meanwhile goes to the kernel."""
        self.reason = None
        self._leave(ExecutionState.RESTARTING)
        self._up(told=True)

    def dead(self, reason: str | None) -> None:
        """Enter the dead state for good and tell the clients."""
        self.execution_state, self.reason = ExecutionState.DEAD, reason
        self._settled.set()
        self.link.dead(reason)

    # ---------------------------------------------------------------------------------------------------------- model

    def model(self) -> dict[str, Any]:
        """Return the JSON object that Jupyter clients expect of a kernel."""
        model: dict[str, Any] = {
            "id": self.kernel_id,
            "name": self.name,
            # Always with microseconds: jupyter_server's gateway client parses nothing else.
            "last_activity": self.last_activity.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "execution_state": str(self.execution_state),
            "connections": self.connections,
        }
        reason = self.reason or self._waits_for()
        if reason:
            model["reason"] = reason
        usage = self.link.usage
        if usage is not None:
            model["usage"] = asdict(usage)
        return model

    def _waits_for(self) -> str | None:
        return waiting_words(self.manager.provisioner) if self.execution_state == ExecutionState.STARTING else None
