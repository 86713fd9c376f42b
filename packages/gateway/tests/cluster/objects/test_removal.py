import asyncio
import dataclasses

import pytest

from enterprise_gateway.cluster.objects.removal import PendingDeletion, Removal
from enterprise_gateway.cluster.pods.state import pod_state

POD = PendingDeletion("k1", "Pod", "home", "kernel", grace=0)


async def until(condition):
    """Return when a condition holds; the test's own timeout is the limit."""
    while not condition():
        await asyncio.sleep(0.005)


def test_who_asks_learns_that_all_is_gone(cluster_type, pod):
    async def scenario():
        async with cluster_type() as cluster:
            made = await cluster.api.put("pods", pod())
            removal = Removal(client=cluster.client)
            assert await removal.take_away([POD._replace(uid=made["metadata"]["uid"])], patience=5)
            assert cluster.api.left() == []

    asyncio.run(scenario())


def test_what_a_server_doesnt_answer_goes_when_it_is_back_and_nobody_waits_for_that(cluster_type, fault_type, pod):
    async def scenario():
        async with cluster_type() as cluster:
            made = await cluster.api.put("pods", pod())
            cluster.api.fault = lambda _count, _request: fault_type(status=503)
            removal = Removal(client=cluster.client)
            assert not await removal.take_away([POD._replace(uid=made["metadata"]["uid"])], patience=0.05)
            cluster.api.fault = lambda _count, _request: None
            await until(lambda: cluster.api.left() == [])
            await removal.stop()

    asyncio.run(scenario())


def test_a_caller_that_is_cancelled_cancels_only_its_waiting(cluster_type, fault_type, pod):
    async def scenario():
        async with cluster_type() as cluster:
            made = await cluster.api.put("pods", pod())
            cluster.api.fault = lambda _count, _request: fault_type(status=503)
            removal = Removal(client=cluster.client)
            caller = asyncio.create_task(removal.take_away([POD._replace(uid=made["metadata"]["uid"])], patience=60))
            await until(lambda: cluster.api.requests)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
            cluster.api.fault = lambda _count, _request: None
            await until(lambda: cluster.api.left() == [])
            await removal.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("doomed", "left"),
    [
        (POD, []),
        (POD._replace(launch_id="l1"), []),
        (POD._replace(launch_id="l2"), ["pods/kernel"]),
        (POD._replace(kernel_id="k2"), ["pods/kernel"]),
        (POD._replace(uid="another"), ["pods/kernel"]),
    ],
)
def test_an_object_that_isnt_the_one_that_is_meant_stays(cluster_type, pod, doomed, left):
    async def scenario():
        async with cluster_type() as cluster:
            await cluster.api.put("pods", pod())
            assert await Removal(client=cluster.client).take_away([doomed], patience=5)
            assert cluster.api.left() == left

    asyncio.run(scenario())


def test_a_refusal_is_logged_and_keeps_the_others_from_nothing(cluster_type, fault_type, pod, caplog):
    async def scenario():
        async with cluster_type() as cluster:
            for name in ("kernel", "other"):
                await cluster.api.put("pods", pod(name))
            cluster.api.fault = lambda _count, request: fault_type(status=403) if request.path.endswith("/kernel") else None
            assert not await Removal(client=cluster.client).take_away([POD, POD._replace(name="other")], patience=5)
            assert cluster.api.left() == ["pods/kernel"]

    asyncio.run(scenario())
    assert "An object of a kernel is left" in caplog.text


def test_what_isnt_gone_when_the_gateway_ends_is_said(cluster_type, fault_type, pod, caplog):
    async def scenario():
        async with cluster_type() as cluster:
            await cluster.api.put("pods", pod())
            cluster.api.fault = lambda _count, _request: fault_type(status=503)
            removal = Removal(client=cluster.client)
            await removal.take_away([POD], patience=0.05)
            await removal.stop()

    asyncio.run(scenario())
    assert "the gateway ends before the cluster answers" in caplog.text


def test_a_pod_is_nobodys_kernel_while_it_waits_to_be_taken_away(cluster_type, fault_type, pod):
    async def scenario():
        async with cluster_type() as cluster:
            made = pod_state(await cluster.api.put("pods", pod()))
            cluster.api.fault = lambda _count, _request: fault_type(status=503)
            removal = Removal(client=cluster.client)
            for doomed in (POD._replace(uid=made.uid), POD._replace(launch_id="l1")):
                assert not removal.is_pending(made)
                await removal.take_away([doomed], patience=0.05)
                assert removal.is_pending(made)
                assert not removal.is_pending(dataclasses.replace(made, uid="another", launch_id="l2"))
                await removal.stop()

    asyncio.run(scenario())


def test_other_replicas_find_on_an_object_what_they_couldnt_be_told_before_it_goes(cluster_type, pod):
    async def scenario():
        async with cluster_type() as cluster:
            await cluster.api.put("pods", pod())
            assert await Removal(client=cluster.client).take_away([POD._replace(annotations={"why": "shutdown"})], patience=5)
            told = [document["metadata"]["annotations"] for _, change, document in cluster.api._history if change == "DELETED"]
            assert told == [{"why": "shutdown"}]

    asyncio.run(scenario())
