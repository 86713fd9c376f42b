"""With pods that a test moves: what other replicas do can't be waited for."""

import asyncio
from types import SimpleNamespace

import pytest

from enterprise_gateway.cluster.pods.annotations import Cause, Ending
from enterprise_gateway.errors import KernelExists, KubernetesUnavailable, LaunchFailed, LaunchTimeout
from enterprise_gateway.kernels import starter
from enterprise_gateway.kernels.lifecycle import KernelLifecycle
from enterprise_gateway.kernels.question import Question
from enterprise_gateway.kernels.starter import KernelStarter, LifecycleOptions
from enterprise_gateway.replicas import supervision
from enterprise_gateway.replicas.supervision import ReplicatedSupervision

CONNECTION = {
    "transport": "tcp",
    "ip": "127.0.0.1",
    "key": b"topsecret",
    "signature_scheme": "hmac-sha256",
    **{f"{name}_port": 1 for name in ("shell", "iopub", "stdin", "control", "hb")},
}
SHUT_DOWN = Ending(cause=Cause.SHUTDOWN, at="2026-01-01T00:00:00Z", words="nobody used it")
RESTART = Ending(cause=Cause.RESTART, at="2026-01-01T00:00:00Z")
GIVEN_UP = Ending(cause=Cause.GIVEN_UP, at="2026-01-01T00:00:00Z", words="it died too often")

NOT_STARTED = Ending(cause=Cause.NOT_STARTED, at="2026-01-01T00:00:00Z", words="no image")


def options(seconds, *, restart_limit=5):
    return LifecycleOptions(
        launch_timeout=seconds,
        max_launch_timeout=900,
        kernel_info_timeout=seconds,
        restart_limit=restart_limit,
        stable_start_time=10,
    )


class Pods:
    """Stands for a kernel's pods."""

    def __init__(self):
        self.told = []
        self.objects = SimpleNamespace(pod_uid="u1")
        self.was_started, self.ending = True, None
        self._new_pod()
        self.successor = asyncio.Event()
        self.records = [SimpleNamespace(environment={"KERNEL_FOO": "bar"}, judged=frozenset(), supervisor=None)]

    def _new_pod(self):
        self.end = asyncio.get_running_loop().create_future()
        self.is_gone, self.marked = asyncio.Event(), asyncio.Event()

    async def record(self):
        record = self.records.pop(0) if len(self.records) > 1 else self.records[0]
        if isinstance(record, Exception):
            raise record
        return record

    async def ended(self):
        return await asyncio.shield(self.end)

    async def died(self):
        await asyncio.shield(self.end)
        return "its pod ended"

    async def gone(self):
        await self.is_gone.wait()

    async def marked_as_started(self):
        await self.marked.wait()

    async def next_pod(self):
        await self.successor.wait()
        self.successor.clear()
        self._new_pod()

    async def announce(self, cause, words=""):
        self.told.append((str(cause), words))

    async def record_activity(self, moment):
        self.told.append(("active", ""))

    def forget(self):
        self.told.append(("forgotten", ""))


class Ownership:
    def __init__(self):
        self.mine = asyncio.Event()

    def may_act(self, *, started_here):
        return self.mine.is_set()

    async def wait_to_act(self, *, started_here):
        await self.mine.wait()


def _both(change, heard):
    def changed(*arguments, **options):
        change(*arguments, **options)
        heard(*arguments)

    return changed


class Kit:
    """A lifecycle whose kernel answers when a test lets it."""

    def __init__(self, kernel, monkeypatch, restart_limit=5, seconds=5):
        self.kernel, self.pods, self.ownership = kernel, Pods(), Ownership()
        self.answers, self.ended, self.restarts, self.heard = asyncio.Event(), [], [], []
        self.restart_failures, self.may_end = [], asyncio.Event()
        self.may_end.set()
        monkeypatch.setattr(kernel.link, "ask_kernel_info", self._answer)
        monkeypatch.setattr(kernel.link, "output_arrives", self._output_arrives)
        monkeypatch.setattr(Question, "ask", self._answer_without_status)
        manager = kernel.manager
        monkeypatch.setattr(manager, "restart", self._restart)
        monkeypatch.setattr(manager, "shutdown_kernel", self._shutdown)
        provisioner = SimpleNamespace(pods=self.pods, connection_info=CONNECTION, adopt=lambda _record: None)
        provisioner.wait_for_exit = self.pods.died
        manager.provisioner = None
        starts = KernelStarter(kernel=kernel, options=options(seconds, restart_limit=restart_limit))
        starts.wait_for_exit = self.pods.died
        self.lifecycle = KernelLifecycle(
            kernel=kernel,
            starter=starts,
            supervision=ReplicatedSupervision(
                kernel=kernel,
                starter=starts,
                on_restart=self.restarts.append,
                provisioner=provisioner,
                ownership=self.ownership,
            ),
            on_restart=self.restarts.append,
            on_end=lambda _kernel, forget: self.ended.append(forget),
        )
        for change in ("restarting", "restarted", "dead"):
            monkeypatch.setattr(kernel, change, _both(getattr(kernel, change), getattr(self, f"kernel_{change}")))

    async def _answer(self, **_options):
        await self.answers.wait()
        return {}

    async def _answer_without_status(self, **_options):
        await self.answers.wait()
        return False

    async def _output_arrives(self, *, ask):
        pass

    async def _restart(self, *, now, ended):
        self.pods.told.append(("launched", ""))
        await self.may_end.wait()
        ended()
        if self.restart_failures:
            raise self.restart_failures.pop(0)
        self.pods._new_pod()

    async def _shutdown(self, **_options):
        self.pods.told.append(("ended", ""))

    async def answers_late(self):
        """Have a kernel that is being started answer after some turns of the loop."""
        self.answers.clear()
        self.pods.told.clear()
        while ("launched", "") not in self.pods.told:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        self.answers.set()

    def kernel_restarting(self, reason):
        self.heard.append(f"restarting {reason}")

    def kernel_restarted(self):
        self.heard.append("restarted")

    def kernel_dead(self, reason):
        self.heard.append(f"dead {reason}")

    async def until(self, state):
        while self.kernel.execution_state != state:
            await asyncio.sleep(0)

    async def followed(self):
        """Follow a kernel that answers."""
        self.answers.set()
        self.lifecycle.follow()
        await self.until("idle")


@pytest.fixture
def scenario(make_kernel, monkeypatch):
    """Run a scenario and end what it began."""

    def run(steps, *, restart_limit=5, seconds=5):
        async def with_kit():
            kit = Kit(make_kernel(), monkeypatch, restart_limit, seconds)
            try:
                async with asyncio.timeout(10):
                    await steps(kit)
            finally:
                await kit.lifecycle._end_supervision()
                kit.kernel.link.close()

        asyncio.run(with_kit())

    return run


def test_a_kernel_that_another_replica_starts_is_starting_until_it_answers(scenario):
    async def steps(kit):
        kit.lifecycle.follow()
        for _ in range(20):
            await asyncio.sleep(0)
        assert kit.kernel.execution_state == "starting"
        kit.answers.set()
        await kit.until("idle")
        assert kit.kernel.manager.launch_request.environment == {"KERNEL_FOO": "bar"}

    scenario(steps)


def test_a_kernel_that_answered_another_replica_and_not_this_one_is_busy_until_it_does(scenario, monkeypatch):
    monkeypatch.setattr(supervision, "_ANSWER_SECONDS", 0.01)

    async def steps(kit):
        kit.pods.marked.set()
        kit.lifecycle.follow()
        await kit.until("busy")
        kit.answers.set()
        await kit.until("idle")

    scenario(steps)


def test_a_start_that_fails_elsewhere_is_forgotten_when_its_pod_is_gone(scenario):
    async def steps(kit):
        kit.pods.was_started = False
        kit.lifecycle.follow()
        await asyncio.sleep(0)
        kit.pods.end.set_result("it exited")
        for _ in range(20):
            await asyncio.sleep(0)
        assert kit.ended == []
        kit.pods.is_gone.set()
        await kit.until("dead")
        assert kit.ended == [True]

    scenario(steps)


def test_a_start_that_fails_elsewhere_stays_dead_with_its_reason_where_clients_know_the_kernel(scenario):
    async def steps(kit):
        kit.pods.was_started, kit.pods.ending = False, NOT_STARTED
        kit.lifecycle.follow()
        await asyncio.sleep(0)
        kit.pods.end.set_result("it was deleted")
        kit.pods.is_gone.set()
        await kit.until("dead")
        assert (kit.ended, kit.kernel.reason) == ([False], "no image")

    scenario(steps)


def test_why_a_kernel_never_came_up_is_written_on_its_pod(scenario):
    async def steps(kit):
        await kit.lifecycle.supervision.tell_failure("no image")
        assert kit.pods.told == [("not-started", "no image")]

    scenario(steps)


def test_a_record_that_cant_be_read_now_is_read_later(scenario, monkeypatch):
    monkeypatch.setattr(supervision, "_RECORD_AGAIN_SECONDS", 0.0)

    async def steps(kit):
        kit.pods.records.insert(0, KubernetesUnavailable("away", kind="Secret"))
        await kit.followed()

    scenario(steps)


def test_a_kernel_that_is_shut_down_elsewhere_vanishes_with_the_words_for_its_clients(scenario):
    async def steps(kit):
        await kit.followed()
        kit.pods.end.set_result(SHUT_DOWN)
        await kit.until("dead")
        assert (kit.ended, kit.heard) == ([True], ["dead nobody used it"])
        assert ("launched", "") not in kit.pods.told

    scenario(steps)


def test_a_kernel_that_is_given_up_elsewhere_is_dead_and_stays_for_its_users_to_read_why(scenario):
    async def steps(kit):
        await kit.followed()
        kit.pods.end.set_result(GIVEN_UP)
        await kit.until("dead")
        assert (kit.ended, kit.kernel.reason) == ([False], "it died too often")

    scenario(steps)


def test_a_restart_elsewhere_is_followed_and_not_told_as_a_death(scenario):
    async def steps(kit):
        await kit.followed()
        kit.ownership.mine.set()
        kit.pods.end.set_result(RESTART)
        await kit.until("restarting")
        kit.pods.successor.set()
        await kit.until("idle")
        assert kit.heard == ["restarting None", "restarted"]
        assert ("launched", "") not in kit.pods.told

    scenario(steps)


def test_who_may_not_act_waits_for_who_starts_a_dead_kernel_again(scenario):
    async def steps(kit):
        await kit.followed()
        kit.pods.end.set_result("out of memory")
        await kit.until("restarting")
        for _ in range(20):
            await asyncio.sleep(0)
        assert ("launched", "") not in kit.pods.told
        kit.pods.successor.set()
        await kit.until("idle")
        assert kit.heard == ["restarting out of memory", "restarted"]
        assert kit.restarts == []

    scenario(steps)


def test_who_may_act_starts_a_dead_kernel_again(scenario):
    async def steps(kit):
        await kit.followed()
        kit.ownership.mine.set()
        kit.pods.end.set_result("out of memory")
        await kit.until("restarting")
        await kit.until("idle")
        assert kit.restarts == [True]
        assert kit.pods.told.count(("launched", "")) == 1

    scenario(steps)


def test_who_may_act_only_later_starts_it_then(scenario):
    async def steps(kit):
        await kit.followed()
        kit.pods.end.set_result("out of memory")
        await kit.until("restarting")
        kit.ownership.mine.set()
        await kit.until("idle")
        assert kit.restarts == [True]

    scenario(steps)


def test_a_replica_that_is_slower_than_another_follows_it(scenario):
    async def steps(kit):
        await kit.followed()
        kit.ownership.mine.set()
        kit.restart_failures = [KernelExists()]
        kit.pods.end.set_result("out of memory")
        await kit.until("restarting")
        kit.ownership.mine.clear()
        kit.pods.successor.set()
        await kit.until("idle")

    scenario(steps)


def test_a_kernel_that_dies_too_often_is_given_up_and_the_others_are_told(scenario):
    async def steps(kit):
        await kit.followed()
        kit.ownership.mine.set()
        kit.restart_failures = [LaunchFailed("no room")] * 3
        kit.pods.end.set_result("out of memory")
        await kit.until("dead")
        assert kit.kernel.reason == "no room"
        assert kit.ended == [False]
        assert kit.restarts == [True, True]
        assert ("given-up", "no room") in kit.pods.told

    scenario(steps, restart_limit=2)


def test_a_restart_that_nobody_finishes_is_the_kernels_end(scenario, monkeypatch):
    async def steps(kit):
        monkeypatch.setattr(supervision, "_TAKEOVER_SECONDS", 0)
        await kit.followed()
        kit.pods.end.set_result(RESTART)
        await kit.until("dead")
        assert kit.ended == [False]

    scenario(steps, seconds=0.01)


def test_a_kernel_that_a_restart_leaves_dead_is_to_be_forgotten_after_a_while(scenario):
    async def steps(kit):
        await kit.followed()
        kit.restart_failures = [LaunchFailed("no room")]
        with pytest.raises(LaunchFailed, match="no room"):
            await kit.lifecycle.restart()
        assert (kit.kernel.execution_state, kit.ended) == ("dead", [False])

    scenario(steps)


def test_what_is_done_on_purpose_is_told_before_it_is_done(scenario):
    async def steps(kit):
        await kit.followed()
        await kit.lifecycle.restart()
        await kit.lifecycle.shutdown(reason="idle")
        order = [what for what, _ in kit.pods.told if what not in {"active", "forgotten"}]
        assert order == ["restart", "launched", "shutdown", "ended"]
        assert kit.pods.told[-2] == ("shutdown", "idle")

    scenario(steps)


def test_a_restart_of_a_kernel_that_is_being_restarted_elsewhere_waits_for_that(scenario):
    async def steps(kit):
        await kit.followed()
        kit.pods.end.set_result(RESTART)
        await kit.until("restarting")
        asked = asyncio.create_task(kit.lifecycle.restart())
        await asyncio.sleep(0)
        kit.pods.successor.set()
        await asked
        assert ("launched", "") not in kit.pods.told

    scenario(steps)


def test_a_restart_that_meets_the_start_of_another_replica_is_that_start(scenario):
    async def steps(kit):
        await kit.followed()
        kit.restart_failures = [KernelExists()]
        kit.pods.successor.set()
        await kit.lifecycle.restart()
        assert kit.kernel.execution_state == "idle"
        assert ("ended", "") not in kit.pods.told

    scenario(steps)


def test_a_restart_elsewhere_that_never_ends_is_told_in_time(make_kernel, monkeypatch):
    async def steps():
        kit = Kit(make_kernel(), monkeypatch, seconds=0.01)
        try:
            await kit.followed()
            kit.pods.end.set_result(RESTART)
            await kit.until("restarting")
            with pytest.raises(LaunchTimeout):
                await kit.lifecycle.restart()
        finally:
            await kit.lifecycle._end_supervision()
            kit.kernel.link.close()

    asyncio.run(steps())


def test_a_kernel_that_is_shut_down_while_another_replica_restarts_it_vanishes(scenario):
    async def steps(kit):
        await kit.followed()
        kit.answers.clear()
        kit.pods.end.set_result(RESTART)
        await kit.until("restarting")
        kit.pods.successor.set()
        while kit.pods.end.done():
            await asyncio.sleep(0)
        kit.pods.end.set_result(SHUT_DOWN)
        await kit.until("dead")
        assert kit.ended == [True]

    scenario(steps)


def test_an_end_that_is_asked_for_during_another_replicas_restart_ends_what_comes_of_it(scenario):
    async def steps(kit):
        await kit.followed()
        kit.pods.end.set_result(RESTART)
        await kit.until("restarting")
        ending = asyncio.create_task(kit.lifecycle.shutdown())
        for _ in range(20):
            await asyncio.sleep(0)
        assert ("shutdown", "") not in kit.pods.told
        kit.pods.successor.set()
        await ending
        assert ("shutdown", "") in kit.pods.told

    scenario(steps)


def test_an_end_that_is_asked_for_while_this_replica_starts_it_again_waits_for_nothing(scenario):
    async def steps(kit):
        await kit.followed()
        kit.ownership.mine.set()
        kit.answers.clear()
        kit.pods.end.set_result("out of memory")
        while ("launched", "") not in kit.pods.told:
            await asyncio.sleep(0)
        await kit.lifecycle.shutdown()
        assert kit.kernel.execution_state == "dead"

    scenario(steps)


def test_a_supervision_that_fails_is_not_silent(scenario, caplog):
    async def steps(kit):
        await kit.followed()
        kit.pods.end.set_exception(RuntimeError("a mistake"))
        while not kit.lifecycle._supervising.done():
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        kit.lifecycle._supervising = None

    scenario(steps)
    assert "Supervision of a kernel failed" in caplog.text


def test_a_restart_has_the_time_that_the_kernels_start_had(scenario):
    async def steps(kit):
        kit.pods.records = [SimpleNamespace(environment={"KERNEL_LAUNCH_TIMEOUT": "600"}, judged=(), supervisor=None)]
        await kit.followed()
        await asyncio.gather(kit.lifecycle.restart(), kit.answers_late())
        assert kit.kernel.execution_state == "idle"
        kit.ownership.mine.set()
        late = asyncio.create_task(kit.answers_late())
        await asyncio.sleep(0)
        kit.pods.end.set_result("it died")
        await late
        await kit.until("idle")
        assert kit.restarts == [False, True]

    scenario(steps, seconds=0)


def test_a_restart_has_the_gateways_time_where_the_kernels_own_cant_be_read(scenario):
    async def steps(kit):
        kit.pods.records = [SimpleNamespace(environment={"KERNEL_LAUNCH_TIMEOUT": "soon"}, judged=(), supervisor=None)]
        await kit.followed()
        await asyncio.gather(kit.lifecycle.restart(), kit.answers_late())

    scenario(steps, seconds=600)


def test_the_end_of_a_kernel_takes_nothing_of_the_time_of_its_next_start(scenario):
    async def steps(kit):
        await kit.followed()
        kit.answers.clear()
        kit.may_end.clear()
        restart = asyncio.create_task(kit.lifecycle.restart())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not restart.done()
        kit.may_end.set()
        with pytest.raises(LaunchTimeout, match="didn't answer within 0 seconds"):
            await restart

    scenario(steps, seconds=0)


def test_a_kernel_that_doesnt_end_isnt_waited_for_without_end(scenario, monkeypatch):
    async def steps(kit):
        monkeypatch.setattr(starter, "_END_SECONDS", 0)
        kit.kernel.manager.shutdown_wait_time = 0
        await kit.followed()
        kit.may_end.clear()
        with pytest.raises(LaunchTimeout, match="didn't end within 0 seconds"):
            await kit.lifecycle.restart()

    scenario(steps)
