"""What is done to one kernel on purpose: start, restart, interrupt, end.

One lock keeps these steps apart. Between them its supervision waits for the kernel's end; when that comes unasked, it has
the kernel started again up to the limit. A deliberate step always ends the supervision first, so an end that was asked for
is never taken for a death.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from enterprise_gateway.errors import Conflict, GatewayError, LaunchFailed
from enterprise_gateway.kernels.kernel import ExecutionState, Kernel
from enterprise_gateway.kernels.starter import KernelStarter
from enterprise_gateway.kernels.supervision import Supervision
from enterprise_gateway.kernels.waiting import first_of

__all__ = ["KernelLifecycle"]

_log = logging.getLogger(__name__)

_CANCEL_AGAIN_SECONDS = 0.5


class KernelLifecycle:
    """Starts, restarts, interrupts and ends one kernel, and has it supervised in between.

    Parameters
    ----------
    kernel
        The kernel whose state follows what happens.
    starter
        Brings it up.
    supervision
        Stays with it.
    on_restart
        Called with `False` for a restart that was asked for.
    on_end
        Called when the kernel ended otherwise than by `shutdown`: with `True` where it is to be forgotten at once.
    """

    def __init__(
        self,
        *,
        kernel: Kernel,
        starter: KernelStarter,
        supervision: Supervision,
        on_restart: Callable[[bool], None],
        on_end: Callable[[Kernel, bool], None],
    ) -> None:
        self.supervision = supervision
        self._kernel = kernel
        self._starter = starter
        self._on_restart = on_restart
        self._on_end = on_end
        self._lock = asyncio.Lock()
        self._shutdown_asked = asyncio.Event()
        self._supervising: asyncio.Task[None] | None = None
        self._ended = False

    @property
    def phases(self) -> Mapping[str, float]:
        """Seconds that the parts of the latest start took."""
        return self._starter.phases

    # ---------------------------------------------------------------------------------------------------------- start

    async def start(self, *, timeout: float, arguments: dict[str, Any]) -> None:
        """Start the kernel and return when it answers; leave nothing behind when it doesn't, or when cancelled.

        Parameters
        ----------
        timeout
            Seconds for all of it.
        arguments
            Passed to the provisioner: `env` and its like.

        Raises
        ------
        LaunchFailed
            It ended before it answered, or could not be started; the text says why.
        LaunchTimeout
            It didn't answer in time.
        """
        self.supervision.starts_here()
        async with self._lock:
            await self._starter.start(timeout=timeout, arguments=arguments)
            self._kernel.started()
            self.supervision.tell_start()
            self._begin(self._supervise(started=True))

    def follow(self) -> None:
        """Go on with a kernel that another process started, wherever it is on its way."""
        self._begin(self._supervise(started=False))

    async def detach(self) -> None:
        """Let the kernel live on without this gateway."""
        async with self._lock:
            self._ended = True
            await self._end_supervision()
            self._starter.let_go()
            self.supervision.let_go()

    # ---------------------------------------------------------------------------------------------------- supervision

    async def _supervise(self, *, started: bool) -> None:
        over = await self.supervision.supervise(started=started)
        self._ended = over.forget
        self._kernel.dead(over.reason)
        self._on_end(self._kernel, over.forget)

    def _begin(self, supervising: Coroutine[Any, Any, None]) -> None:
        self._supervising = asyncio.create_task(supervising, name=f"supervise {self._kernel.kernel_id}")
        self._supervising.add_done_callback(self._supervised)

    def _supervised(self, task: asyncio.Task[None]) -> None:
        # Nobody waits for it; what ends it unasked would go unseen, and the kernel's death after it too.
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("Supervision of a kernel failed", exc_info=error, extra={"kernel_id": self._kernel.kernel_id})

    async def _end_supervision(self) -> None:
        self._starter.activity.ask_no_more()
        supervising, self._supervising = self._supervising, None
        while supervising is not None and not supervising.done():
            # Until it ends: `wait_for` of Python 3.11, by which jupyter_client waits for a process' end, loses a
            # cancellation that comes in the moment in which what it waits for is done.
            supervising.cancel()
            await asyncio.wait([supervising], timeout=_CANCEL_AGAIN_SECONDS)

    @property
    def _restarts_unasked(self) -> bool:
        return self._kernel.execution_state == ExecutionState.RESTARTING and not self._lock.locked()

    # ----------------------------------------------------------------------------------------------- deliberate steps

    async def restart(self) -> None:
        """End the kernel, start it again and return when it answers; clients stay connected.

        One that another replica is starting again already is waited for.

        Raises
        ------
        LaunchFailed
            It could not be started again; it is dead then.
        """
        if self._restarts_unasked and await self.supervision.joins_restart():
            return
        async with self._lock:
            if self._ended:
                raise LaunchFailed(f"Kernel {self._kernel.kernel_id} has been shut down.")
            await self._end_supervision()
            in_place = self._kernel.link.supervised
            self._kernel.restarting(None, in_place=in_place)
            self._on_restart(False)
            if not in_place:
                await self.supervision.tell_end(restart=True)
            try:
                await first_of(self.supervision.start_again(), self._until_shutdown())
            except BaseException as error:
                await self._starter.destroy()
                self._kernel.dead(error.message if isinstance(error, GatewayError) else "The restart was given up.")
                # Nobody stays with it any more who could tell that it is to be forgotten.
                self._on_end(self._kernel, False)
                raise
            self.supervision.tell_start()
            self._kernel.restarted()
            self._kernel.touch()
            self._begin(self._supervise(started=True))

    async def _until_shutdown(self) -> None:
        await self._shutdown_asked.wait()
        raise LaunchFailed(f"Kernel {self._kernel.kernel_id} has been shut down.")

    async def shutdown(self, *, reason: str | None = None) -> None:
        """End the kernel and all that belongs to it, also in the middle of a restart; does nothing the second time.

        One that another replica is restarting has no pod for a moment. What is done then would be undone by the next one,
        so that is waited for, for a while.
        """
        if self._restarts_unasked:
            await self.supervision.end_of_restart()
        self._shutdown_asked.set()
        async with self._lock:
            if self._ended:
                return
            self._ended = True
            await self._end_supervision()
            await self.supervision.tell_end(restart=False, reason=reason)
            try:
                # One that was never reached can't be asked to end.
                await self._kernel.manager.shutdown_kernel(now=not self._kernel.link.was_connected)
            finally:
                self._kernel.dead(reason)

    async def interrupt(self) -> None:
        """Interrupt what the kernel runs, the way its kernelspec says (`interrupt_mode`).

        Raises
        ------
        Conflict
            There is no running kernel to interrupt.
        """
        if not self._kernel.manager.has_kernel:
            raise Conflict(f"Kernel {self._kernel.kernel_id} isn't running.", reason="Kernel isn't running")
        await self._kernel.manager.interrupt_kernel()
