"""What happens to one kernel: start, supervision, restart, interruption, end.

One lock keeps the deliberate steps (start, restart, shutdown) apart. Between them a task waits for the kernel's end;
when that comes unasked, it restarts the kernel up to the limit. A deliberate step always ends that task first, so an
end that was asked for is never taken for a death.
"""

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import (
    Conflict,
    GatewayError,
    LaunchFailed,
    LaunchRefused,
    LaunchTimeout,
    Unavailable,
)
from enterprise_gateway.kernels.activity import ActivityMonitor
from enterprise_gateway.kernels.kernel import Kernel
from enterprise_gateway.kernels.readiness import wait_until_it_answers
from enterprise_gateway.kernels.waiting import first_of
from enterprise_gateway.provisioners.exits import says_what_it_waits_for, wait_for_exit
from enterprise_gateway.provisioners.phases import LaunchPhases
from enterprise_gateway_common.supervisor_protocol import KernelPhase

__all__ = ["KernelLifecycle", "LifecycleOptions"]

_log = logging.getLogger(__name__)

_SLACK_SECONDS = 2.0
_CANCEL_AGAIN_SECONDS = 0.5
_END_SECONDS = 60.0
# What a supervisor takes at most from an order to a kernel that begins: it ends the one before by SIGKILL in half of that.
_IN_PLACE_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class LifecycleOptions:
    """What an administrator decides about every kernel's life."""

    launch_timeout: float
    """Seconds for the start of a kernel whose client asked for no other number."""
    max_launch_timeout: float
    """The most that a client can ask for."""
    kernel_info_timeout: float
    """Seconds that a restarted kernel gets at least, where its start got fewer."""
    restart_limit: int
    """Deaths in a row after which a kernel isn't started again."""
    stable_start_time: float
    """Seconds of life after which a death counts as the first in a row."""


class KernelLifecycle:
    """Starts, supervises, restarts, interrupts and ends one kernel.

    Parameters
    ----------
    kernel
        The kernel whose state follows what happens.
    options
        The administrator's choices.
    on_restart
        Called with `True` for a restart after a death, `False` for one that was asked for.
    clock
        Seconds that only go forward.
    """

    def __init__(
        self,
        *,
        kernel: Kernel,
        options: LifecycleOptions,
        on_restart: Callable[[bool], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kernel = kernel
        self._options = options
        self._on_restart = on_restart
        self._clock = clock
        self._activity = ActivityMonitor(kernel=kernel)
        self._lock = asyncio.Lock()
        self._shutdown_asked = asyncio.Event()
        self._supervision: asyncio.Task[None] | None = None
        self._ended = False
        self._launch_timeout = options.launch_timeout
        self.phases: Mapping[str, float] = {}
        """Seconds that the parts of the latest start took."""

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
        # Its restarts pull the same image and wait for the same nodes.
        self._launch_timeout = timeout
        async with self._lock:
            self._kernel.manager.launch_deadline = Deadline(timeout)
            try:
                async with asyncio.timeout(timeout + self._slack):
                    await self._launch(lambda: self._kernel.manager.start_kernel(**arguments))
            except TimeoutError as error:
                await self._destroy()
                raise LaunchTimeout(
                    f"KernelID: '{self._kernel.kernel_id}' launch timeout due to: waited too long ({timeout:g}s) for the kernel "
                    "to answer. A larger KERNEL_LAUNCH_TIMEOUT gives it more time."
                ) from error
            except BaseException:
                await self._destroy()
                raise
            self._kernel.started()
            self._tell_start()
            self._supervise(deaths=0)

    @property
    def _slack(self) -> float:
        # A provisioner that knows what a start waits for keeps the deadline itself and says more when it is over.
        return _SLACK_SECONDS if says_what_it_waits_for(self._kernel.manager.provisioner) else 0.0

    @property
    def _restart_seconds(self) -> float:
        return max(self._launch_timeout, self._options.kernel_info_timeout)

    async def _launch(self, begin: Callable[[], Awaitable[object]]) -> None:
        """Begin a start and return when the kernel answers.

        Raises
        ------
        LaunchFailed
            It could not be started, or ended before it answered.
        """
        kernel, phases = self._kernel, LaunchPhases(clock=self._clock)
        self.phases = phases.seconds
        try:
            await begin()
        except GatewayError:
            raise
        except OSError as error:
            if error.errno == errno.E2BIG:
                raise LaunchRefused(
                    "The kernel's environment is larger than this machine lets a program have; send fewer or shorter variables.",
                    code=HTTPStatus.BAD_REQUEST,
                ) from error
            raise LaunchFailed(f"The program of kernelspec '{kernel.name}' can't be executed: {error.strerror}.") from error
        except Exception as error:
            _log.exception("Kernel could not be started", extra={"kernel_id": kernel.kernel_id, "kernelspec": kernel.name})
            raise LaunchFailed(
                f"Error occurred during launch of KernelID: {kernel.kernel_id}. The gateway's log says more."
            ) from error
        # Who starts in several steps tells them itself.
        if (told := getattr(kernel.manager.provisioner, "phases", None)) is not None:
            phases, self.phases = told, told.seconds
        else:
            phases.ended("process")
        kernel.connect()
        await self._answer_or_exit()
        phases.ended("kernel")

    async def _answer_or_exit(self) -> None:
        answer = asyncio.ensure_future(wait_until_it_answers(self._kernel))
        exit_ = asyncio.ensure_future(self._wait_for_exit())
        try:
            await asyncio.wait([answer, exit_], return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise LaunchFailed(f"Kernel '{self._kernel.name}' ended before it could be used. {exit_.result()}")
            answer.result()
        finally:
            for task in (answer, exit_):
                task.cancel()
            await asyncio.gather(answer, exit_, return_exceptions=True)

    async def _wait_for_exit(self) -> str:
        """Return why the kernel ended, as soon as it has: its process, or all that it runs in."""
        provisioner = self._kernel.manager.provisioner
        if provisioner is None:
            return "It was never started."
        if not self._kernel.link.supervised:
            return await wait_for_exit(provisioner)
        return await first_of(wait_for_exit(provisioner), self._cause_of_exit())

    async def _cause_of_exit(self) -> str:
        status = await self._kernel.link.status_is(lambda status: status.phase is KernelPhase.EXITED)
        return status.cause or "The kernel ended."

    async def detach(self) -> None:
        """Let the kernel live on without this gateway."""
        async with self._lock:
            self._ended = True
            await self._end_supervision()
            self._let_go()

    def _let_go(self) -> None:
        self._activity.ask_no_more()
        self._kernel.link.disconnect()
        self._kernel.manager.detach()

    # ------------------------------------------------------------------------------- for kernels that are shared

    def _tell_start(self) -> None:
        """Let other processes know that the kernel answers; nobody else has to do with one that runs here only."""

    async def _tell_end(self, *, restart: bool, reason: str | None = None) -> None:
        """Let other processes know why the kernel is about to end, as above."""

    # ---------------------------------------------------------------------------------------------------- supervision

    def _supervise(self, *, deaths: int) -> None:
        self._begin(self._restart_when_it_dies(deaths))

    def _begin(self, supervision: Coroutine[Any, Any, None]) -> None:
        self._supervision = asyncio.create_task(supervision, name=f"supervise {self._kernel.kernel_id}")
        self._supervision.add_done_callback(self._supervised)

    def _supervised(self, task: asyncio.Task[None]) -> None:
        # Nobody waits for it; what ends it unasked would go unseen, and the kernel's death after it too.
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("Supervision of a kernel failed", exc_info=error, extra={"kernel_id": self._kernel.kernel_id})

    async def _restart_when_it_dies(self, deaths: int) -> None:
        """Wait for the kernel's end and start it again, until a limit of deaths in a row is reached."""
        kernel = self._kernel
        while True:
            alive_since = self._clock()
            reason = await self._wait_for_exit()
            deaths = 1 if self._clock() - alive_since >= self._options.stable_start_time else deaths + 1
            while deaths <= self._options.restart_limit:
                _log.warning(
                    "Kernel died and is started again",
                    extra={
                        "kernel_id": kernel.kernel_id,
                        "cause": reason,
                        "attempt": deaths,
                        "limit": self._options.restart_limit,
                    },
                )
                kernel.restarting(reason)
                self._on_restart(True)
                try:
                    await self._relaunch(now=True)
                except LaunchFailed as error:
                    reason, deaths = error.message, deaths + 1
                else:
                    kernel.restarted()
                    break
            else:
                _log.error("Kernel died and is given up", extra={"kernel_id": kernel.kernel_id, "cause": reason})
                # The supervision ends here, so the clean-up must not wait for it.
                await self._destroy()
                kernel.dead(reason)
                return

    async def _start_again(self) -> None:
        """Restart the kernel because somebody asked for it."""
        await self._relaunch(now=False)
        self._tell_start()

    async def _relaunch(self, *, now: bool) -> None:
        """End the kernel and start it; the start has all of its time, however long the end took.

        Raises
        ------
        LaunchFailed
            It could not be started again.
        """
        if self._kernel.link.supervised:
            try:
                await self._relaunch_in_place(reason=None, now=now)
            except Unavailable as error:
                fields = {"kernel_id": self._kernel.kernel_id, "cause": error.message}
                _log.warning("A kernel can't be restarted in its pod, and gets another", extra=fields)
                self._kernel.restarting(None)
                await self._tell_end(restart=True)
            else:
                return
        manager, loop = self._kernel.manager, asyncio.get_running_loop()
        end_seconds, has_ended = manager.shutdown_wait_time + _END_SECONDS, False
        try:
            async with asyncio.timeout(end_seconds) as limit:

                def ended() -> None:
                    nonlocal has_ended
                    has_ended = True
                    manager.launch_deadline = Deadline(self._restart_seconds)
                    limit.reschedule(loop.time() + self._restart_seconds + self._slack)

                await self._launch(lambda: manager.restart(now=now, ended=ended))
        except TimeoutError as error:
            if not has_ended:
                raise LaunchTimeout(f"The kernel that is restarted didn't end within {end_seconds:g} seconds.") from error
            raise LaunchTimeout(f"The restarted kernel didn't answer within {self._restart_seconds:g} seconds.") from error

    async def _relaunch_in_place(self, *, reason: str | None, now: bool) -> None:
        """Have the kernel's supervisor restart it, where it runs; returns when it answers.

        Parameters
        ----------
        reason
            Why it died, for its clients; nothing where the restart was asked for.

        Raises
        ------
        LaunchFailed
            It could not be started again.
        Unavailable
            The supervisor isn't there any more, or does nothing.
        """
        try:
            async with asyncio.timeout(_IN_PLACE_SECONDS):
                await self._kernel.link.restart(reason=reason, now=now)
        except TimeoutError as error:
            raise Unavailable(f"The kernel's supervisor didn't start it again within {_IN_PLACE_SECONDS:g} seconds.") from error
        seconds = self._restart_seconds
        try:
            async with asyncio.timeout(seconds):
                self._kernel.connect()
                await self._answer_or_exit()
        except TimeoutError as error:
            raise LaunchTimeout(f"The restarted kernel didn't answer within {seconds:g} seconds.") from error

    async def _end_supervision(self) -> None:
        supervision, self._supervision = self._supervision, None
        while supervision is not None and not supervision.done():
            # Until it ends: `wait_for` of Python 3.11, by which jupyter_client waits for a process' end, loses a
            # cancellation that comes in the moment in which what it waits for is done.
            supervision.cancel()
            await asyncio.wait([supervision], timeout=_CANCEL_AGAIN_SECONDS)

    # ----------------------------------------------------------------------------------------------- deliberate steps

    async def restart(self) -> None:
        """End the kernel, start it again and return when it answers; clients stay connected.

        Raises
        ------
        LaunchFailed
            It could not be started again; it is dead then.
        """
        async with self._lock:
            if self._ended:
                raise LaunchFailed(f"Kernel {self._kernel.kernel_id} has been shut down.")
            await self._end_supervision()
            in_place = self._kernel.link.supervised
            self._kernel.restarting(None, in_place=in_place)
            self._on_restart(False)
            if not in_place:
                await self._tell_end(restart=True)
            try:
                await first_of(self._start_again(), self._until_shutdown())
            except BaseException as error:
                await self._destroy()
                self._kernel.dead(error.message if isinstance(error, GatewayError) else "The restart was given up.")
                raise
            self._kernel.restarted()
            self._kernel.touch()
            self._supervise(deaths=0)

    async def _until_shutdown(self) -> None:
        await self._shutdown_asked.wait()
        raise LaunchFailed(f"Kernel {self._kernel.kernel_id} has been shut down.")

    async def shutdown(self, *, reason: str | None = None) -> None:
        """End the kernel and all that belongs to it, also in the middle of a restart; does nothing the second time."""
        self._shutdown_asked.set()
        async with self._lock:
            if self._ended:
                return
            self._ended = True
            await self._end_supervision()
            await self._tell_end(restart=False, reason=reason)
            try:
                # One that was never reached can't be asked to end.
                await self._kernel.manager.shutdown_kernel(now=not self._kernel.link.was_connected)
            finally:
                self._activity.ask_no_more()
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

    async def _destroy(self) -> None:
        """Leave no process, pod, file or socket of the kernel behind."""
        self._activity.ask_no_more()
        self._kernel.link.disconnect()
        try:
            # Shielded: what a cancelled start had already made must go although its caller is gone.
            await asyncio.shield(self._kernel.manager.shutdown_kernel(now=True))
        except Exception:  # the failure that led here is the one to report
            _log.exception("Kernel could not be cleaned up", extra={"kernel_id": self._kernel.kernel_id})
