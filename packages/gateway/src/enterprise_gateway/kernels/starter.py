"""How one kernel is brought up: for the first time, again in its place or a new one; and how all of it is taken away."""

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import GatewayError, LaunchFailed, LaunchRefused, LaunchTimeout, Unavailable
from enterprise_gateway.kernels.activity import ActivityMonitor
from enterprise_gateway.kernels.kernel import Kernel
from enterprise_gateway.kernels.readiness import wait_until_it_answers
from enterprise_gateway.kernels.waiting import first_of
from enterprise_gateway.provisioners.exits import says_what_it_waits_for, wait_for_exit
from enterprise_gateway.provisioners.phases import LaunchPhases
from enterprise_gateway_common.supervisor_protocol import KernelPhase

__all__ = ["KernelStarter", "LifecycleOptions"]

_log = logging.getLogger(__name__)

_SLACK_SECONDS = 2.0
_END_SECONDS = 60.0
# What a supervisor takes at most from an order to a kernel that begins: it ends the one before by SIGKILL in half of that.
_IN_PLACE_SECONDS = 20.0
# A kernel whose program has begun already is there in a fraction of a second; one that begins only then, as Scala's, in a few.
_CLAIM_SECONDS = 20.0


class ClaimFailed(Exception):
    """A pod that was claimed is of no use; the text says why."""


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


class KernelStarter:
    """Brings one kernel up and takes it away; when, and whether at all, others decide.

    Parameters
    ----------
    kernel
        The kernel.
    options
        The administrator's choices.
    clock
        Seconds that only go forward.
    """

    def __init__(self, *, kernel: Kernel, options: LifecycleOptions, clock: Callable[[], float] = time.monotonic) -> None:
        self.options = options
        self.clock = clock
        self.activity = ActivityMonitor(kernel=kernel)
        self.launch_timeout = options.launch_timeout
        """Seconds that this kernel's start has: what its client asked for."""
        self.phases: Mapping[str, float] = {}
        """Seconds that the parts of the latest start took."""
        self._kernel = kernel

    @property
    def restart_seconds(self) -> float:
        """Seconds that a restart has: it pulls the same image as the start, and waits for the same nodes."""
        return max(self.launch_timeout, self.options.kernel_info_timeout)

    @property
    def slack(self) -> float:
        """Seconds beyond a deadline for a provisioner that keeps it itself: it knows what a start waits for, and says more."""
        return _SLACK_SECONDS if says_what_it_waits_for(self._kernel.manager.provisioner) else 0.0

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
        self.launch_timeout = timeout
        self._kernel.manager.launch_deadline = Deadline(timeout)
        try:
            async with asyncio.timeout(timeout + self.slack):
                await self._launch(lambda: self._kernel.manager.start_kernel(**arguments))
        except TimeoutError as error:
            failure = LaunchTimeout(
                f"KernelID: '{self._kernel.kernel_id}' launch timeout due to: waited too long ({timeout:g}s) for the kernel "
                "to answer. A larger KERNEL_LAUNCH_TIMEOUT gives it more time."
            )
            await self._undo(failure)
            raise failure from error
        except BaseException as error:
            await self._undo(error)
            raise

    async def _undo(self, failure: BaseException) -> None:
        progress = self._kernel.manager.launch_progress
        if progress.is_handed_over:
            self.let_go()
            return
        if isinstance(failure, GatewayError):
            await progress.fails(failure.message)
        await self.destroy()

    async def _launch(self, begin: Callable[[], Awaitable[object]]) -> None:
        """Begin a start and return when the kernel answers.

        Raises
        ------
        LaunchFailed
            It could not be started, or ended before it answered.
        """
        try:
            await self._bring_up(begin)
        except ClaimFailed as error:
            fields = {"kernel_id": self._kernel.kernel_id, "cause": str(error)}
            _log.warning("A claimed pod can't be used, and the kernel gets a new one", extra=fields)
            self._kernel.link.disconnect()
            provisioner: Any = self._kernel.manager.provisioner
            provisioner.claim_nothing()
            await self._bring_up(lambda: self._kernel.manager.restart(now=True, ended=lambda: None))

    async def _bring_up(self, begin: Callable[[], Awaitable[object]]) -> None:
        kernel, phases = self._kernel, LaunchPhases(clock=self.clock)
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
        # A provisioner that waits for something after that has told it already.
        kernel.manager.launch_progress.made()
        # Who starts in several steps tells them itself.
        if (told := getattr(kernel.manager.provisioner, "phases", None)) is not None:
            phases, self.phases = told, told.seconds
        else:
            phases.ended("process")
        kernel.connect()
        environment = getattr(kernel.manager.provisioner, "untold_environment", None)
        if environment is None:
            await self.answer_or_exit()
        else:
            await self._tell_claim(environment)
        phases.ended("kernel")

    async def _tell_claim(self, environment: Mapping[str, str]) -> None:
        """Return when the kernel answers whose pod was claimed.

        Raises
        ------
        ClaimFailed
            It won't.
        """
        kernel = self._kernel
        try:
            async with asyncio.timeout(_CLAIM_SECONDS):
                await self._unless_it_exits(kernel.link.claim(kernel.kernel_id, environment))
                await self.answer_or_exit()
        except (TimeoutError, GatewayError) as error:
            cause = error.message if isinstance(error, GatewayError) else f"it didn't answer within {_CLAIM_SECONDS:g} seconds"
            raise ClaimFailed(cause) from error

    async def answer_or_exit(self) -> None:
        """Return when the kernel answers that was begun.

        Raises
        ------
        LaunchFailed
            It ended before.
        """
        await self._unless_it_exits(wait_until_it_answers(self._kernel))

    async def _unless_it_exits(self, awaited: Coroutine[Any, Any, None]) -> None:
        answer = asyncio.ensure_future(awaited)
        exit_ = asyncio.ensure_future(self.wait_for_exit())
        try:
            await asyncio.wait([answer, exit_], return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise LaunchFailed(f"Kernel '{self._kernel.name}' ended before it could be used. {exit_.result()}")
            answer.result()
        finally:
            for task in (answer, exit_):
                task.cancel()
            await asyncio.gather(answer, exit_, return_exceptions=True)

    async def wait_for_exit(self) -> str:
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

    # -------------------------------------------------------------------------------------------------------- restart

    async def restart(self, *, now: bool, moves: Callable[[], Awaitable[None]]) -> None:
        """End the kernel and start it; the start has all of its time, however long the end took.

        Parameters
        ----------
        now
            Whether it may not end by itself.
        moves
            Awaited before a kernel that was to be restarted in its place gets a new one.

        Raises
        ------
        LaunchFailed
            It could not be started again.
        """
        if self._kernel.link.supervised:
            try:
                await self.restart_in_place(reason=None, now=now)
            except Unavailable as error:
                fields = {"kernel_id": self._kernel.kernel_id, "cause": error.message}
                _log.warning("A kernel can't be restarted in its pod, and gets another", extra=fields)
                self._kernel.restarting(None)
                await moves()
            else:
                return
        manager, loop = self._kernel.manager, asyncio.get_running_loop()
        end_seconds, has_ended = manager.shutdown_wait_time + _END_SECONDS, False
        try:
            async with asyncio.timeout(end_seconds) as limit:

                def ended() -> None:
                    nonlocal has_ended
                    has_ended = True
                    manager.launch_deadline = Deadline(self.restart_seconds)
                    limit.reschedule(loop.time() + self.restart_seconds + self.slack)

                await self._launch(lambda: manager.restart(now=now, ended=ended))
        except TimeoutError as error:
            if not has_ended:
                raise LaunchTimeout(f"The kernel that is restarted didn't end within {end_seconds:g} seconds.") from error
            raise LaunchTimeout(f"The restarted kernel didn't answer within {self.restart_seconds:g} seconds.") from error

    async def restart_in_place(self, *, reason: str | None, now: bool) -> None:
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
        seconds = self.restart_seconds
        try:
            async with asyncio.timeout(seconds):
                self._kernel.connect()
                await self.answer_or_exit()
        except TimeoutError as error:
            raise LaunchTimeout(f"The restarted kernel didn't answer within {seconds:g} seconds.") from error

    # ------------------------------------------------------------------------------------------------------------ end

    def let_go(self) -> None:
        """Let the kernel live on without this process."""
        self.activity.ask_no_more()
        self._kernel.link.disconnect()
        self._kernel.manager.detach()

    async def destroy(self) -> None:
        """Leave no process, pod, file or socket of the kernel behind."""
        self.activity.ask_no_more()
        self._kernel.link.disconnect()
        try:
            # Shielded: what a cancelled start had already made must go although its caller is gone.
            await asyncio.shield(self._kernel.manager.shutdown_kernel(now=True))
        except Exception:  # the failure that led here is the one to report
            _log.exception("Kernel could not be cleaned up", extra={"kernel_id": self._kernel.kernel_id})
