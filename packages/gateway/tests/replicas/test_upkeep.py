"""Two replicas that see the same pods, on a clock of their own."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from enterprise_gateway.cluster.pods.state import pod_state
from enterprise_gateway.kernels.admission import Admission, AdmissionState
from enterprise_gateway.kernels.culling import CullReason
from enterprise_gateway.kernels.kernel import ExecutionState
from enterprise_gateway.kernels.table import Entry
from enterprise_gateway.replicas.objections import Objections
from enterprise_gateway.replicas.supervision import ReplicatedSupervision
from enterprise_gateway.replicas.upkeep import Upkeep
from enterprise_gateway_common import labels

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Installation:
    """What the cluster keeps of one kernel: its pod, seen by every replica at once."""

    def __init__(self):
        self.pod = pod_state({"metadata": {"name": "p", "namespace": "n", "uid": "u1", "labels": {labels.KERNEL_ID: "1"}}})
        self.objections, self.writes, self.away = [], [], False

    def write(self, who, annotations):
        if self.away:
            return False
        self.writes.append((who, sorted(annotations)))
        self.pod = replace(self.pod, annotations={**self.pod.annotations, **annotations})
        for objections in self.objections:
            objections.noticed(self.pod)
        return True


class Pods:
    """A replica's view of that pod."""

    is_gone = False

    def __init__(self, installation, who):
        self._installation, self._who = installation, who

    @property
    def state(self):
        return self._installation.pod

    async def mark(self, annotations):
        return self._installation.write(self._who, annotations)

    async def record_activity(self, moment):
        await self.mark({labels.LAST_ACTIVITY_ANNOTATION: moment.isoformat()})


class Replica:
    def __init__(self, installation, kit, make_kernel, clock, who, acts):
        self.kernels, self.clock = kit.kernels, clock
        kit.in_force.now = kit.rules(idle_timeout=100)
        self.kernel = make_kernel("1")
        self.kernel.execution_state = ExecutionState.IDLE
        self.kernel.last_activity = NOW
        self.leads, self.culled = acts, []
        ownership = SimpleNamespace(may_act=lambda started_here: self.leads)  # noqa: ARG005
        supervision = ReplicatedSupervision(
            kernel=self.kernel,
            starter=None,
            on_restart=None,
            provisioner=SimpleNamespace(pods=Pods(installation, who)),
            ownership=ownership,
        )
        lifecycle = SimpleNamespace(supervision=supervision)
        kit.table.add(Entry(self.kernel, lifecycle, admission=Admission(AdmissionState.ADMITTED)))
        services = SimpleNamespace(watches_pool=False, leadership=self, store=self)

        def now():
            return NOW + timedelta(seconds=clock.now - 1000)

        self.objections = Objections(kernels=kit.replicated, rules=kit.in_force, identity=who, now=now, sleep=self._sleep)
        self.upkeep = Upkeep(
            cluster=SimpleNamespace(connected=True, services=services),
            kernels=self.kernels,
            replicated=kit.replicated,
            objections=self.objections,
            orphan_age=600,
            now=now,
        )
        installation.objections.append(self.objections)
        self.objections.noticed(installation.pod)
        self.collected = 0

        async def cull(kernel, reason, why=CullReason.IDLE):
            self.culled.append(kernel.kernel_id if why is CullReason.IDLE else f"{kernel.kernel_id} {why}")

        self.kernels.cull = cull
        self.while_waiting = lambda: None

    async def _sleep(self, _seconds):
        # The time in which the others answer.
        for _ in range(10):
            await asyncio.sleep(0)
        self.while_waiting()

    async def collect_orphans(self, *, older_than, now, answering):
        self.collected += 1
        self.answering = answering
        return ["Pod x"]


@pytest.fixture
def installation():
    return Installation()


@pytest.fixture
def replicas(installation, kit_type, make_kernel, clock, tmp_path):
    return [
        Replica(installation, kit_type(tmp_path / "specs", make_kernel, clock), make_kernel, clock, who, acts)
        for who, acts in (("one", True), ("other", False))
    ]


def test_a_kernel_that_no_replica_finds_in_use_is_culled_by_the_one_that_may(replicas, clock):
    one, other = replicas
    clock.now += 101
    asyncio.run(one.upkeep.cull())
    asyncio.run(other.upkeep.cull())
    assert (one.culled, other.culled) == (["1"], [])


def test_nobody_writes_anything_while_nothing_is_to_be_culled(replicas, installation, clock):
    clock.now += 99
    asyncio.run(replicas[0].upkeep.cull())
    assert installation.writes == []


@pytest.mark.parametrize("use", ["connected", "busy", "active"])
def test_a_kernel_that_another_replica_finds_in_use_is_spared_for_another_timeout(replicas, installation, clock, use):
    one, other = replicas
    clock.now += 101
    if use == "connected":
        other.kernel.connections = 1
    elif use == "busy":
        other.kernel.execution_state = ExecutionState.BUSY
    else:
        other.kernel._active_at = clock.now
        other.kernel.last_activity = NOW + timedelta(seconds=101)
    asyncio.run(one.upkeep.cull())
    assert one.culled == []
    assert [who for who, _ in installation.writes] == ["one", "other"]
    # Asked again only after another timeout.
    clock.now += 99
    asyncio.run(one.upkeep.cull())
    assert len(installation.writes) == 2
    other.kernel.connections, other.kernel.execution_state = 0, ExecutionState.IDLE
    clock.now += 3
    asyncio.run(one.upkeep.cull())
    assert one.culled == ["1"]


def test_a_kernel_whose_replicas_cant_be_asked_is_not_culled(replicas, installation, clock):
    installation.away = True
    clock.now += 101
    asyncio.run(replicas[0].upkeep.cull())
    assert replicas[0].culled == []


def test_who_may_not_act_any_more_when_the_answers_are_in_culls_nothing(replicas, clock):
    one, _ = replicas
    clock.now += 101
    one.while_waiting = lambda: setattr(one, "leads", False)
    asyncio.run(one.upkeep.cull())
    assert one.culled == []


# ------------------------------------------------------------------------------------ kernels that nobody came back for


def unclaimed(replica, clock):
    """Have a replica's client be answered before the kernel was up, and not come back within the time for that."""
    replica.kernel.expect_claim(60)
    clock.now += 60


def test_a_kernel_that_nobody_asked_any_replica_for_is_shut_down_by_the_one_that_started_it(replicas, clock):
    started, leader = replicas[1], replicas[0]
    unclaimed(started, clock)
    asyncio.run(leader.upkeep.cull_unclaimed())
    asyncio.run(started.upkeep.cull_unclaimed())
    assert (leader.culled, started.culled) == ([], ["1 unclaimed"])


def test_a_kernel_that_another_replicas_client_asked_for_stays_and_isnt_asked_about_again(replicas, clock, installation):
    started, other = replicas
    unclaimed(started, clock)
    other.kernel.claim()
    asyncio.run(started.upkeep.cull_unclaimed())
    written = len(installation.writes)
    asyncio.run(started.upkeep.cull_unclaimed())
    assert (started.culled, len(installation.writes)) == ([], written)


@pytest.mark.parametrize("state", ["starting", "restarting", "dead"])
def test_a_kernel_that_isnt_up_ends_by_other_deadlines(replicas, clock, state):
    started = replicas[0]
    started.kernel.execution_state = ExecutionState(state)
    unclaimed(started, clock)
    asyncio.run(started.upkeep.cull_unclaimed())
    assert started.culled == []


def test_a_kernel_stays_whose_claims_the_others_cant_be_asked_for(replicas, clock, installation):
    started = replicas[0]
    installation.away = True
    unclaimed(started, clock)
    asyncio.run(started.upkeep.cull_unclaimed())
    assert started.culled == []


def test_a_kernel_of_this_machine_that_nobody_came_back_for_is_shut_down_without_asking(kit, clock):
    async def steps():
        kernel, _ = await kit.start()
        kernel.expect_claim(60)
        clock.now += 60
        await kit.upkeep().cull_unclaimed()

    asyncio.run(steps())
    assert (kit.kernels.all(), kit.metrics.culled) == ([], ["unclaimed"])


def test_a_question_that_is_older_than_the_acquaintance_is_not_answered(installation, kit_type, make_kernel, clock, tmp_path):
    async def steps():
        installation.write("gone", {labels.CULL_QUESTION_ANNOTATION: "gone 2026-01-01T00:00:00Z"})
        late = Replica(installation, kit_type(tmp_path / "specs", make_kernel, clock), make_kernel, clock, "late", acts=False)
        late.objections.noticed(installation.pod)
        await asyncio.sleep(0)
        assert [who for who, _ in installation.writes] == ["gone"]

    asyncio.run(steps())


def test_activity_that_another_replica_wrote_is_everybodys(replicas, installation, clock):
    clock.now += 50
    later = NOW + timedelta(seconds=40)
    installation.write("other", {labels.LAST_ACTIVITY_ANNOTATION: later.isoformat()})
    assert replicas[0].kernel.last_activity == later
    installation.write("other", {labels.LAST_ACTIVITY_ANNOTATION: NOW.isoformat()})
    assert replicas[0].kernel.last_activity == later


def test_records_are_written_by_one_replica_and_only_when_they_have_fallen_behind(replicas, installation):
    one, other = replicas
    for seconds, writes in ((0, 1), (20, 1), (30, 2), (40, 2)):
        for replica in replicas:
            replica.kernel.last_activity = max(replica.kernel.last_activity, NOW + timedelta(seconds=seconds))
        asyncio.run(one.upkeep.record_activity())
        asyncio.run(other.upkeep.record_activity())
        assert [who for who, _ in installation.writes] == ["one"] * writes


def test_at_the_end_every_replica_writes_what_it_knows_better(replicas, installation):
    _, other = replicas
    asyncio.run(other.upkeep.flush())
    asyncio.run(other.upkeep.flush())
    assert [who for who, _ in installation.writes] == ["other"]


def test_orphans_are_taken_away_by_the_one_that_leads(replicas):
    for replica in replicas:
        asyncio.run(replica.upkeep.collect_orphans())
    assert [replica.collected for replica in replicas] == [1, 0]


@pytest.mark.parametrize(
    ("state", "answers"),
    [
        (ExecutionState.IDLE, True),
        (ExecutionState.BUSY, True),
        (ExecutionState.STARTING, False),
        (ExecutionState.RESTARTING, False),
    ],
)
def test_a_kernel_that_never_answered_is_neither_marked_as_started_nor_kept_from_the_collector(
    replicas, installation, state, answers
):
    one, _ = replicas
    one.kernel.execution_state = state
    asyncio.run(one.upkeep.record_activity())
    asyncio.run(one.upkeep.flush())
    asyncio.run(one.upkeep.collect_orphans())
    assert bool(installation.writes) is answers
    assert one.answering == ({"1"} if answers else set())
