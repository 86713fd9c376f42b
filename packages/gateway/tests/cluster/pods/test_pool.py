import asyncio
import base64
import json
from datetime import UTC, datetime

import pytest

from enterprise_gateway.cluster.pods.pool import PoolPods
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.launch.names import secret_name
from enterprise_gateway_common import labels
from enterprise_gateway_common.connection import SupervisorSettings, connection_file

RUNNING = {"phase": "Running", "podIP": "10.0.0.9", "containerStatuses": [{"name": "kernel", "state": {"running": {}}}]}


class Plan:
    """As much of a start's plan as a claim needs."""

    def __init__(self, kernel_id="k1", user="alice"):
        own = {labels.APP: labels.APP_VALUE, labels.COMPONENT: labels.COMPONENT_KERNEL, labels.KERNEL_ID: kernel_id}
        metadata = {"labels": own, "annotations": {labels.USERNAME_ANNOTATION: user}}
        variables = [{"name": "KERNEL_USERNAME", "value": user}]
        self.kernel_id, self.namespace, self.fingerprint, self.labels = kernel_id, "home", "f", own
        self.pod = {"metadata": metadata, "spec": {"containers": [{"env": variables}]}}
        self.secret = {"metadata": metadata, "data": {"launch.json": base64.b64encode(b"{}").decode()}}


def replica(cluster, informer):
    selector = f"{labels.COMPONENT}={labels.COMPONENT_POOL}"
    return PoolPods(
        client=cluster.client, pods=informer, label_selector=selector, namespaces=("home",), choose=lambda pods: pods[0]
    )


@pytest.fixture
def waiting_pod(pod):
    """Make a pod that can be claimed."""

    def make(name):
        own = {labels.APP: labels.APP_VALUE, labels.COMPONENT: labels.COMPONENT_POOL, labels.POOL_FINGERPRINT: "f"}
        metadata = {
            "uid": name,
            "labels": {**own, labels.KERNEL_LAUNCH: "l1"},
            "annotations": {labels.POOL_READY_ANNOTATION: "now"},
        }
        return pod(name, metadata={"name": name, "namespace": "home", **metadata}, **RUNNING)

    return make


@pytest.fixture
def pools(cluster_type, waiting_pod):
    """Run a scenario with pods in waiting and some replicas that see them."""

    def secret(name):
        settings = SupervisorSettings(1, "p" * 40, "s" * 40, "g" * 40, 1, 1, 1)
        texts = {
            "connection.json": connection_file(key=f"key of {name}", kernel_name="", supervisor=settings),
            "gateway.key": "k" * 40,
        }
        data = {entry: base64.b64encode(text.encode()).decode() for entry, text in texts.items()}
        return {"kind": "Secret", "metadata": {"name": secret_name(name, "l1"), "namespace": "home", "labels": {}}, "data": data}

    def run(scenario, *, names=("a", "b"), replicas=1):
        async def with_cluster():
            async with cluster_type() as cluster:
                for name in names:
                    await cluster.api.put("pods", waiting_pod(name), "ADDED")
                    await cluster.api.put("secrets", secret(name), "ADDED")
                informers = [cluster.informer(component=labels.COMPONENT_POOL) for _ in range(replicas)]
                found = [replica(cluster, each) for each in informers]
                watching = [asyncio.create_task(each.run()) for each in informers]
                for each in informers:
                    await each.wait_synced(Deadline(5))
                try:
                    async with asyncio.timeout(10):
                        await scenario(cluster, *found)
                finally:
                    for task in watching:
                        task.cancel()
                    await asyncio.gather(*watching, return_exceptions=True)

        asyncio.run(with_cluster())

    return run


def labels_of(cluster, name):
    return cluster.api.objects["pods", "home", name]["metadata"]["labels"]


def test_a_claim_makes_a_pod_the_kernels_and_tells_how_it_is_reached(pools):
    async def scenario(cluster, pool):
        claimed = await pool.claim(Plan(), deadline=Deadline(5))
        assert labels_of(cluster, claimed.state.name)[labels.COMPONENT] == labels.COMPONENT_KERNEL
        assert claimed.state.kernel_id == "k1"
        assert claimed.connection.info["key"] == f"key of {claimed.state.name}".encode()
        assert claimed.connection.supervisor.gateway_secretkey == "k" * 40
        assert claimed.environment == {"KERNEL_USERNAME": "alice"}

    pools(scenario)


def test_the_record_of_a_kernel_is_written_after_its_claim(pools):
    async def scenario(cluster, pool):
        claimed = await pool.claim(Plan(), deadline=Deadline(5))
        await pool.record(claimed, Plan(), deadline=Deadline(5))
        written = cluster.api.objects["secrets", "home", secret_name(claimed.state.name, "l1")]
        assert json.loads(base64.b64decode(written["data"]["launch.json"])) == {}
        assert written["metadata"]["labels"][labels.KERNEL_ID] == "k1"

    pools(scenario)


def test_two_replicas_that_want_the_same_pod_get_two(pools):
    async def scenario(_cluster, one, other):
        claimed = await asyncio.gather(one.claim(Plan("k1"), deadline=Deadline(5)), other.claim(Plan("k2"), deadline=Deadline(5)))
        assert {each.state.name for each in claimed} == {"a", "b"}

    pools(scenario, replicas=2)


def test_of_two_starts_one_gets_the_last_pod(pools):
    async def scenario(_cluster, one, other):
        claimed = await asyncio.gather(one.claim(Plan("k1"), deadline=Deadline(5)), other.claim(Plan("k2"), deadline=Deadline(5)))
        assert sum(each is not None for each in claimed) == 1

    pools(scenario, names=("a",), replicas=2)


def test_a_pod_with_another_fingerprint_is_never_claimed(pools):
    async def scenario(_cluster, pool):
        plan = Plan()
        plan.fingerprint = "other"
        assert await pool.claim(plan, deadline=Deadline(5)) is None

    pools(scenario)


def test_a_claim_whose_answer_is_lost_is_the_same_claim(pools, fault_type):
    async def scenario(cluster, pool):
        lost = []

        def fault(_number, request):
            if request.method == "PATCH" and not lost:
                lost.append(request.path)
                return fault_type(after=True)
            return None

        cluster.api.fault = fault
        claimed = await pool.claim(Plan(), deadline=Deadline(5))
        assert lost == [f"/api/v1/namespaces/home/pods/{claimed.state.name}"]
        kernels = [name for name in ("a", "b") if labels_of(cluster, name)[labels.COMPONENT] == labels.COMPONENT_KERNEL]
        assert kernels == [claimed.state.name]

    pools(scenario)


def test_a_pod_that_was_claimed_meanwhile_isnt_taken_away(pools):
    async def scenario(cluster, one, other):
        seen = one.waiting()[0]
        await other.claim(Plan(), deadline=Deadline(5))
        assert await one.remove(seen) is False
        assert ("pods", "home", seen.name) in cluster.api.objects

    pools(scenario, names=("a",), replicas=2)


def test_pods_in_waiting_make_room_once_and_it_is_known_that_they_did(pools):
    async def scenario(cluster, pool):
        assert await pool.make_room("elsewhere") is False
        assert not pool.gave_way()
        assert await pool.make_room("home") is True
        assert [name for name in cluster.api.left() if name.startswith("pods/")] == []
        assert pool.gave_way()
        assert not pool.gave_way()

    pools(scenario)


def test_a_secret_without_its_pod_is_taken_away_once_it_is_old(pools):
    async def scenario(cluster, pool):
        own = {labels.COMPONENT: labels.COMPONENT_POOL}
        for name, launch, created in (
            ("old", "l2", "2026-01-01T00:00:00Z"),
            ("young", "l3", "2026-01-01T00:59:00Z"),
            ("used", "l1", "2026-01-01T00:00:00Z"),
        ):
            metadata = {
                "name": name,
                "namespace": "home",
                "labels": {**own, labels.KERNEL_LAUNCH: launch},
                "creationTimestamp": created,
            }
            await cluster.api.put("secrets", {"kind": "Secret", "metadata": metadata}, "ADDED")
        taken = await pool.collect_orphans(older_than=600, now=datetime(2026, 1, 1, 1, tzinfo=UTC))
        assert taken == ["Secret old"]

    pools(scenario)


def test_a_pod_that_goes_while_its_keys_are_read_is_no_claim(pools, fault_type, waiting_pod):
    async def scenario(cluster, pool):
        cluster.api.fault = lambda _number, request: fault_type(hang=True) if "secrets" in request.path else None
        await cluster.api.put("pods", waiting_pod("late"), "ADDED")
        while not pool.waiting():
            await asyncio.sleep(0)
        claim = asyncio.create_task(pool.claim(Plan(), deadline=Deadline(5)))
        while not any("secrets" in path for _, path in cluster.api.requests):
            await asyncio.sleep(0)
        await cluster.api.remove("pods", "home", "late")
        assert await claim is None

    pools(scenario, names=())
