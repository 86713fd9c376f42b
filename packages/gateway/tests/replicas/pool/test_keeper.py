import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from enterprise_gateway.cluster.pods.state import pod_state
from enterprise_gateway.errors import LaunchFailed, LaunchRefused
from enterprise_gateway.launch.pool_size import PoolSize
from enterprise_gateway.replicas.pool import keeper as keeper_module
from enterprise_gateway.replicas.pool.keeper import PoolKeeper
from enterprise_gateway_common import labels
from enterprise_gateway_common.supervisor_protocol import KernelPhase

NAME = "python_kubernetes"


class Cache:
    def __init__(self):
        self.objects, self.handlers = {}, []

    def subscribe(self, handler):
        self.handlers.append(handler)

    async def wait_synced(self, _deadline):
        return

    def show(self, pod):
        self.objects[pod.key] = pod
        for handler in self.handlers:
            handler(pod.key, pod)


def pod(name="a", *, ready=False, fingerprint="f", component=labels.COMPONENT_POOL, unschedulable=False):
    own = {labels.POOL_FINGERPRINT: fingerprint, labels.COMPONENT: component}
    annotations = {labels.KERNEL_NAME_ANNOTATION: NAME, **({labels.POOL_READY_ANNOTATION: "now"} if ready else {})}
    metadata = {"name": name, "namespace": "kernels", "uid": name, "labels": own, "annotations": annotations}
    if unschedulable:
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"}
        status = {"phase": "Pending", "conditions": [condition]}
    else:
        running = {"name": "kernel", "state": {"running": {}}}
        status = {"phase": "Running", "podIP": "10.0.0.9", "containerStatuses": [running]}
    made = {"metadata": {**metadata, "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"containers": [{"name": "kernel"}]}}
    return pod_state({**made, "status": status})


class Kit:
    """A keeper with everything around it, and what it asked for."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        self.pools = {}
        self.made, self.removed, self.marked = [], [], []
        self.size, self.obstacle, self.fingerprints = PoolSize(2, 2), None, None
        self.refusal = self.gave_way = None
        self.phase = KernelPhase.WAITING
        self.pool_pods, self.kernel_pods, self.leadership = Cache(), Cache(), SimpleNamespace(leads=True)
        pool = SimpleNamespace(
            pods=self.pool_pods,
            waiting=lambda *_name: list(self.pool_pods.objects.values()),
            gave_way=lambda: bool(self.gave_way),
            remove=self._remove,
            connection=self._connection,
        )
        services = SimpleNamespace(
            pool=pool,
            pods=self.kernel_pods,
            leadership=self.leadership,
            maker=SimpleNamespace(make=self._make),
            store=SimpleNamespace(mark=self._mark),
            watch_pool=lambda: None,
            options=SimpleNamespace(launch=SimpleNamespace(pools=self.pools)),
        )
        kernelspec = SimpleNamespace(spec=SimpleNamespace(metadata={"kernel_provisioner": {"provisioner_name": "kubernetes"}}))
        monkeypatch.setattr(keeper_module, "pool_plan", lambda plan, **_pool_id: plan)
        monkeypatch.setattr(keeper_module, "phase_of", self._phase)

        async def catalogue():
            return {NAME: kernelspec}

        async def get(_name):
            return kernelspec

        self.keeper = PoolKeeper(
            cluster=SimpleNamespace(connected=True, services=services),
            catalogue=SimpleNamespace(all=catalogue, get=get),
            make_kernel=lambda **_arguments: (SimpleNamespace(manager=SimpleNamespace(provisioner=self)), None),
            rules=SimpleNamespace(now=SimpleNamespace(launch_timeout=60), launch_request=lambda *_arguments: None),
            context=None,
            clock=lambda: self.now,
            now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        )

    # What a provisioner does.

    def pool_size(self, _services):
        return self.size

    async def plan_for_pool(self):
        same = "f" if self.fingerprints is None else self.fingerprints.pop(0)
        return SimpleNamespace(fingerprint=same, pool_obstacle=self.obstacle, kernel_id="k")

    # What the cluster does.

    async def _make(self, plan, *, deadline):
        self.made.append(plan)
        if self.refusal is not None:
            raise self.refusal

    async def _remove(self, pod):
        self.removed.append(pod.name)
        return True

    async def _connection(self, _pod):
        return SimpleNamespace(supervisor=None)

    async def _phase(self, _address, **_how):
        return self.phase

    async def _mark(self, pod, annotations):
        self.marked.append((pod.name, *annotations))

    async def round(self):
        """Look once, and let everything happen that follows from it."""
        await self.keeper.round()
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
def kit(monkeypatch):
    return Kit(monkeypatch)


def test_missing_pods_are_made(kit):
    asyncio.run(kit.round())
    assert len(kit.made) == 2


def test_a_replica_that_does_not_lead_makes_none(kit):
    kit.leadership.leads = False
    asyncio.run(kit.round())
    assert kit.made == []


def test_a_kernelspec_without_a_pool_has_no_pods(kit):
    kit.size = PoolSize(0, 0)
    asyncio.run(kit.round())
    assert kit.made == []


@pytest.mark.parametrize(
    ("obstacle", "fingerprints", "words"),
    [
        ("it is pulled anew", None, "it can have none: it is pulled anew"),
        (None, ["f", "g"], "its template prints what differs from kernel to kernel"),
    ],
)
def test_why_a_kernelspec_can_have_no_pool_is_told_and_its_pods_go(kit, caplog, obstacle, fingerprints, words):
    kit.obstacle, kit.fingerprints = obstacle, fingerprints
    kit.pool_pods.show(pod(ready=True))
    asyncio.run(kit.round())
    assert kit.made == []
    assert kit.removed == ["a"]
    assert any(words in record.cause for record in caplog.records)


def test_a_pod_whose_supervisor_waits_is_marked_for_claims(kit):
    kit.pool_pods.show(pod())
    asyncio.run(kit.round())
    assert kit.marked == [("a", labels.POOL_READY_ANNOTATION)]


def test_a_pod_whose_supervisor_knows_no_claims_is_taken_away_and_the_next_waits(kit, caplog):
    kit.phase = KernelPhase.RUNNING
    kit.pool_pods.show(pod())

    async def scenario():
        await kit.round()
        made = len(kit.made)
        assert kit.removed == ["a"]
        await kit.round()
        assert len(kit.made) == made

    asyncio.run(scenario())
    assert any("too old to wait for a claim" in str(getattr(record, "cause", "")) for record in caplog.records)


def test_after_a_refusal_the_next_try_comes_ever_later(kit):
    kit.refusal, kit.size = LaunchRefused("no", code=403), PoolSize(1, 1)

    async def scenario():
        tries = []
        for second in range(40):
            kit.now = 1000.0 + second
            await kit.round()
            if len(kit.made) > len(tries):
                tries.append(second)
        assert tries == [0, 5, 15, 35]

    asyncio.run(scenario())


def test_a_kernel_that_finds_no_node_gets_the_pools_place_for_a_minute(kit):
    async def scenario():
        kit.pool_pods.show(pod(ready=True))
        kit.kernel_pods.show(pod("kernel", component=labels.COMPONENT_KERNEL, fingerprint="", unschedulable=True))
        await kit.round()
        assert kit.removed == ["a"]
        kit.pool_pods.objects.clear()
        kit.kernel_pods.objects.clear()
        kit.now += 59
        await kit.round()
        assert kit.made == []
        kit.now += 2
        await kit.round()
        assert len(kit.made) == 2

    asyncio.run(scenario())


def test_starts_that_the_pool_could_have_served_are_its_demand(kit):
    kit.size = PoolSize(1, 4)

    async def scenario():
        await kit.round()
        for name in ("k1", "k2", "k3"):
            for _ in range(2):  # a pod that changes is no second start
                kit.kernel_pods.show(pod(name, component=labels.COMPONENT_KERNEL))
        kit.made.clear()
        await kit.round()
        assert kit.made == [], "their users wait for those that were claimed"
        kit.now += 1
        await kit.round()
        assert len(kit.made) == 3

    asyncio.run(scenario())


def test_a_kernelspec_that_cannot_be_planned_keeps_no_other_from_its_pool(kit, caplog):
    async def fails():
        raise LaunchFailed("its template can't be read")

    kit.plan_for_pool = fails
    asyncio.run(kit.round())
    assert caplog.records[-1].cause == "its template can't be read"


def test_a_pool_of_a_kernelspec_that_is_not_there_is_told_once(kit, caplog):
    kit.pools["no_such"] = PoolSize(1, 1)

    async def scenario():
        await kit.round()
        await kit.round()

    asyncio.run(scenario())
    assert [record.kernelspec for record in caplog.records] == ["no_such"]
