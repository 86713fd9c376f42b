"""What happens to a kernel that several replicas of the gateway look after.

Each replica follows the kernel through its pods. Whatever one of them does on purpose, it first writes on the pod, so the
others know what an end means when they see it: a kernel that was shut down is forgotten, one that is restarted is
connected to again when its next pod answers. An end that nobody announced is a death; the one replica that may act on
the kernel starts it again, and the others follow.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from enterprise_gateway.cluster.pods.annotations import Cause, Ending
from enterprise_gateway.errors import GatewayError, KernelExists, LaunchFailed, LaunchTimeout
from enterprise_gateway.kernels.kernel import ExecutionState, Kernel
from enterprise_gateway.kernels.readiness import wait_until_it_answers
from enterprise_gateway.kernels.starter import KernelStarter
from enterprise_gateway.kernels.supervision import KernelOver
from enterprise_gateway.kernels.waiting import first_of
from enterprise_gateway.launch.request import KernelFacts, LaunchRequest, recorded_request
from enterprise_gateway.links.supervisor.channels import KernelStatus
from enterprise_gateway.replicas.unfinished_claims import UNCLAIMED, finish_claim
from enterprise_gateway_common.supervisor_protocol import KernelPhase

if TYPE_CHECKING:
    from enterprise_gateway.cluster.objects.store import KernelRecord
    from enterprise_gateway.cluster.pods.kernel_pods import KernelPods

__all__ = ["Ownership", "ReplicatedProvisioner", "ReplicatedSupervision"]

_log = logging.getLogger(__name__)

# A replica that ended is missed after this long, and then the kernel is to be started.
_TAKEOVER_SECONDS = 45.0
_RECORD_AGAIN_SECONDS = 2.0
_ANSWER_SECONDS = 0.25
_NEXT_POD_SECONDS = 20.0
# A pod that waits for its claim has a kernel as good as one that runs.
_LIVES = UNCLAIMED | {KernelPhase.RUNNING}


class Ownership(Protocol):
    """Knows which of the replicas may act on a kernel."""

    def may_act(self, *, started_here: bool) -> bool:
        """Tell whether this one may now."""

    async def wait_to_act(self, *, started_here: bool) -> None:
        """Return when this one may, which may be never."""


class ReplicatedProvisioner(Protocol):
    """A provisioner whose kernels others see as well."""

    connection_info: Any

    @property
    def pods(self) -> "KernelPods":
        """The kernel's pods."""

    def adopt(self, record: "KernelRecord") -> None:
        """Take over a kernel that runs already."""

    async def reach(self, record: "KernelRecord") -> None:
        """Return when it is known whether that kernel has a supervisor."""


class KernelLost(LaunchFailed):
    """The kernel is over, and nobody starts it again.

    Parameters
    ----------
    wanted
        Whether somebody shut it down.
    """

    def __init__(self, message: str, *, wanted: bool = False) -> None:
        super().__init__(message)
        self.wanted = wanted


class ReplicatedSupervision:
    """Of a kernel that other replicas look after as well; see `enterprise_gateway.kernels.supervision`.

    Parameters
    ----------
    kernel, starter
        The kernel, and who brings it up.
    on_restart
        Called with `True` for a restart after a death.
    provisioner
        Its pods, and the way to take over how it is reached.
    ownership
        Asked before a kernel that died is started again.
    """

    def __init__(
        self,
        *,
        kernel: Kernel,
        starter: KernelStarter,
        on_restart: Callable[[bool], None],
        provisioner: ReplicatedProvisioner,
        ownership: Ownership,
    ) -> None:
        self._kernel = kernel
        self._starter = starter
        self._on_restart = on_restart
        self._provisioner = provisioner
        self._ownership = ownership
        self._announcement: asyncio.Task[None] | None = None
        self._starts_it_again = False
        self._life: int | None = None  # of the kernel that is followed, as its supervisor counts
        self.started_here = False
        """Whether this process started the pod that the kernel has now."""

    @property
    def pods(self) -> "KernelPods":
        """The kernel's pods."""
        return self._provisioner.pods

    @property
    def may_act(self) -> bool:
        """Whether it is this replica that may do what nobody asked for: cull the kernel, start it again."""
        return self._ownership.may_act(started_here=self.started_here)

    @property
    def _patience(self) -> float:
        return self._starter.restart_seconds + _TAKEOVER_SECONDS

    def is_over(self, uid: str) -> bool:
        """Tell whether the kernel is dead and a pod is another one's than it had."""
        objects = self.pods.objects
        return self._kernel.execution_state == ExecutionState.DEAD and (objects is None or objects.pod_uid != uid)

    # ------------------------------------------------------------------------------------------- told to the others

    def starts_here(self) -> None:
        """Take note that this process brings the kernel up."""
        self.started_here = True

    def tell_start(self) -> None:
        """Write on the kernel's pod that it answers."""
        # Beside everything else: it needn't hold up who waits for the kernel.
        self._announcement = asyncio.create_task(self.pods.record_activity(self._kernel.last_activity))

    async def tell_failure(self, words: str) -> None:
        """Write on the kernel's pod why it never came up."""
        await self.pods.announce(Cause.NOT_STARTED, words)

    async def tell_end(self, *, restart: bool, reason: str | None = None) -> None:
        """Write on the kernel's pod why it is about to end."""
        await self.pods.announce(Cause.RESTART if restart else Cause.SHUTDOWN, reason or "")

    def let_go(self) -> None:
        """Forget the kernel's pods; they live on."""
        self.pods.forget()

    # ------------------------------------------------------------------------------------------------ following

    async def supervise(self, *, started: bool) -> KernelOver:
        """Stay with the kernel through its pods, and return when it is over.

        Parameters
        ----------
        started
            Whether this process brought it up; else it is somewhere on its way, by another replica's doing.
        """
        if not started:
            over = await self._join()
            if over is not None:
                return over
        return await self._follow()

    async def _join(self) -> KernelOver | None:
        """Return when a kernel answers that another replica brought up, or its end where the start failed."""
        try:
            await self._take_up()
        except LaunchFailed as error:
            if not self.pods.was_started:
                # Whoever starts it takes away what is left, or the collector of orphans does.
                await self.pods.gone()
                ending = self.pods.ending
                if ending is not None and ending.cause is Cause.NOT_STARTED:
                    return self._over(ending.words, forget=False)
                return self._over(error.message, forget=True)
        else:
            self._kernel.started_elsewhere()
        return None

    async def _follow(self) -> KernelOver:
        kernel, starter, deaths = self._kernel, self._starter, 0
        while True:
            alive_since = starter.clock()
            end = await self._end()
            starter.activity.ask_no_more()
            if isinstance(end, Ending) and end.cause is not Cause.RESTART:
                return self._over(end.words or None, forget=end.cause is Cause.SHUTDOWN)
            deaths = 1 if starter.clock() - alive_since >= starter.options.stable_start_time else deaths + 1
            try:
                if isinstance(end, KernelStatus):
                    await self._restart_in_pod(end, deaths)
                    continue
                kernel.restarting(end if isinstance(end, str) else None)
                deaths = await self._come_back(end, deaths)
            except KernelLost as error:
                return self._over(error.message, forget=error.wanted)
            kernel.restarted()

    def _over(self, reason: str | None, *, forget: bool) -> KernelOver:
        self._starter.let_go()
        self.let_go()
        return KernelOver(reason, forget)

    async def _end(self) -> "Ending | str | KernelStatus":
        """Return when the kernel's pod has ended, or the kernel in it whose supervisor is still there."""
        if not self._kernel.link.supervised:
            return await self.pods.ended()
        return await first_of(self.pods.ended(), self._end_in_pod())

    async def _end_in_pod(self) -> KernelStatus:
        link = self._kernel.link
        life = (await link.status_is(lambda _: True)).life if self._life is None else self._life
        self._life = life
        # An end that was asked for is told on the pod, and the pod's end follows.
        return await link.status_is(lambda status: (status.phase not in _LIVES or status.life != life) and not status.final)

    async def _restart_in_pod(self, end: KernelStatus, deaths: int) -> None:
        """Return when the kernel runs again in its pod, by whoever's doing; or when it ended once more, or the pod has.

        Raises
        ------
        KernelLost
            It is given up.
        """
        kernel, link = self._kernel, self._kernel.link
        died = end.phase is KernelPhase.EXITED
        kernel.restarting(end.cause if died else None, in_place=True)
        self._life = None
        if died and await self._is_mine_to_restart(end):
            reason = end.cause or "The kernel ended."
            if deaths > self._starter.options.restart_limit:
                await self._give_up(reason)
            self._tell_of_restart(reason, deaths)
            try:
                await self._starter.restart_in_place(reason=reason, now=True)
            except GatewayError as error:
                fields = {"kernel_id": kernel.kernel_id, "cause": error.message}
                _log.warning("A kernel that died can't be started again in its pod", extra=fields)
                return
        else:
            runs = link.status_is(lambda status: status.phase is KernelPhase.RUNNING)
            if not isinstance(await first_of(self.pods.died(), runs), KernelStatus):
                return
            kernel.connect()
            try:
                await self._starter.answer_or_exit()
            except LaunchFailed:
                return
        kernel.restarted()

    async def _is_mine_to_restart(self, end: KernelStatus) -> bool:
        """Tell whether this replica is to restart a kernel that ended in its pod; not where another has, or the pod has ended."""
        link = self._kernel.link

        async def mine() -> bool:
            await self._ownership.wait_to_act(started_here=self.started_here)
            return True

        async def anothers() -> bool:
            await link.status_is(lambda status: status.phase is not KernelPhase.EXITED or status.life != end.life)
            return False

        async def pods_end() -> bool:
            await self.pods.died()
            return False

        return await first_of(anothers(), pods_end(), mine())

    async def _come_back(self, end: Ending | str, deaths: int) -> int:
        """Return the number of deaths in a row when the kernel answers again, by whoever's doing.

        Raises
        ------
        KernelLost
            It is over.
        """
        while True:
            if await self._is_mine_to_start(end):
                reason = end if isinstance(end, str) else "Another replica didn't finish the kernel's restart."
                if deaths > self._starter.options.restart_limit:
                    await self._give_up(reason)
                try:
                    await self._start_after_death(reason, deaths)
                except KernelExists:
                    # Another replica was faster after all.
                    continue
                except GatewayError as error:
                    end, deaths = error.message, deaths + 1
                    continue
                return deaths
            try:
                await self._take_up()
            except LaunchFailed:
                end = await self.pods.ended()
                if isinstance(end, Ending) and end.cause is not Cause.RESTART:
                    wanted = end.cause is Cause.SHUTDOWN
                    raise KernelLost(end.words or "The kernel was shut down.", wanted=wanted) from None
                deaths += 1
            else:
                return deaths

    async def _is_mine_to_start(self, end: Ending | str) -> bool:
        """Tell whether this replica is to start the kernel; where it isn't, another one's new pod is followed now.

        Raises
        ------
        KernelLost
            Nobody started it.
        """
        following = asyncio.ensure_future(self.pods.next_pod())
        waited: set[asyncio.Future[None]] = {following}
        if isinstance(end, str):
            waited.add(asyncio.ensure_future(self._ownership.wait_to_act(started_here=self.started_here)))
        try:
            await asyncio.wait(waited, timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()
                return False
            if any(task.done() for task in waited):
                return True
        finally:
            for task in waited:
                task.cancel()
            await asyncio.gather(*waited, return_exceptions=True)
        raise KernelLost("The kernel ended, and no gateway has started it again.")

    def _tell_of_restart(self, reason: str, deaths: int) -> None:
        fields = {"kernel_id": self._kernel.kernel_id, "cause": reason}
        limit = self._starter.options.restart_limit
        _log.warning("Kernel died and is started again", extra={**fields, "attempt": deaths, "limit": limit})
        self._on_restart(True)

    async def _start_after_death(self, reason: str, deaths: int) -> None:
        self._tell_of_restart(reason, deaths)
        self._starts_it_again = True
        try:
            await self._starter.restart(now=True, moves=self._tell_restart)
        finally:
            self._starts_it_again = False
        self.started_here = True
        self.tell_start()

    async def _give_up(self, reason: str) -> None:
        await self.pods.announce(Cause.GIVEN_UP, reason)
        await self._starter.destroy()
        raise KernelLost(reason)

    async def _take_up(self) -> None:
        """Return when the kernel can be used that the followed pod runs.

        Raises
        ------
        LaunchFailed
            The pod ended before.
        """
        pods, kernel = self.pods, self._kernel
        record = await self._record()
        self._provisioner.adopt(record)
        if record.supervisor is not None:
            died = await first_of(pods.died(), self._provisioner.reach(record))
            if died is not None:
                raise LaunchFailed(died)
        self._life = None
        request = kernel.manager.launch_request = self._recorded_request(record)
        self._starter.launch_timeout = self._starter.options.launch_timeout
        if request is not None:
            self._starter.launch_timeout = request.launch_seconds(
                default=self._starter.options.launch_timeout, maximum=self._starter.options.max_launch_timeout
            )
        arguments = {"env": dict(record.environment), "kernel_id": kernel.kernel_id}
        kernel.manager.adopt(self._provisioner.connection_info, arguments)
        kernel.connect()
        answer = asyncio.ensure_future(wait_until_it_answers(kernel))
        ended, known = asyncio.ensure_future(pods.died()), asyncio.ensure_future(self._known_to_answer())
        claim = asyncio.ensure_future(finish_claim(kernel.link, kernel.kernel_id, record.environment))
        try:
            await asyncio.wait({answer, ended, known}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                answer.result()
            elif ended.done():
                raise LaunchFailed(ended.result())
            else:
                # What it does now is another client's, and its answer may wait behind a long cell.
                await kernel.link.output_arrives(ask=False)
                kernel.adopted()
                self._starter.activity.ask()
        finally:
            for task in (answer, ended, known, claim):
                task.cancel()
            await asyncio.gather(answer, ended, known, claim, return_exceptions=True)

    def _recorded_request(self, record: "KernelRecord") -> LaunchRequest | None:
        kernel = self._kernel
        facts = KernelFacts(
            kernel_id=kernel.kernel_id, kernel_name=kernel.name, username=kernel.user, language=kernel.kernelspec.spec.language
        )
        try:
            return recorded_request(kernel=facts, environment=record.environment, judged=record.judged)
        except GatewayError as error:
            # A later start will fail by it; what runs can be used all the same.
            fields = {"kernel_id": kernel.kernel_id, "cause": error.message}
            _log.warning("A kernel's record has a variable that can't be read", extra=fields)
            return None

    async def _known_to_answer(self) -> None:
        """Return when another replica had an answer, and the kernel has had the time to answer here as well."""
        await self.pods.marked_as_started()
        await asyncio.sleep(_ANSWER_SECONDS)

    async def _record(self) -> "KernelRecord":
        while True:
            try:
                return await self.pods.record()
            except LaunchFailed:
                raise
            except GatewayError as error:
                # The kernel runs all the same; it is listed and can be used as soon as the cluster answers.
                fields = {"kernel_id": self._kernel.kernel_id, "cause": error.message}
                _log.warning("A kernel's record can't be read", extra=fields)
                await asyncio.sleep(_RECORD_AGAIN_SECONDS)

    # ----------------------------------------------------------------------------------------------- deliberate steps

    async def joins_restart(self) -> bool:
        """Wait for the restart that is under way, whoever does it; none is needed then."""
        await self._in_time(self._kernel.wait_until_ready())
        return True

    async def end_of_restart(self) -> None:
        """Wait for a while for another replica's restart to end."""
        if not self._starts_it_again:
            with suppress(LaunchFailed, TimeoutError):
                async with asyncio.timeout(_NEXT_POD_SECONDS):
                    await self._kernel.wait_until_ready()

    async def start_again(self) -> None:
        """Restart the kernel because somebody asked for it.

        Raises
        ------
        LaunchFailed
            It could not be started again.
        """
        self._life = None
        pod = self.pods.objects
        try:
            await self._starter.restart(now=False, moves=self._tell_restart)
        except KernelExists:
            # Another replica had taken the end for a death and was faster.
            await self._in_time(self._take_up_next())
        else:
            if self.pods.objects is not pod:
                self.started_here = True

    async def _tell_restart(self) -> None:
        await self.tell_end(restart=True)

    async def _take_up_next(self) -> None:
        await self.pods.next_pod()
        await self._take_up()

    async def _in_time(self, step: Coroutine[Any, Any, None]) -> None:
        """Do what another replica's restart needs, within the time that a restart has."""
        seconds = self._starter.restart_seconds
        try:
            async with asyncio.timeout(seconds + self._starter.slack):
                await step
        except TimeoutError as error:
            raise LaunchTimeout(f"The restarted kernel didn't answer within {seconds:g} seconds.") from error
