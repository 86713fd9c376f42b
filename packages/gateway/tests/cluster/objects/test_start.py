import asyncio

import pytest

from enterprise_gateway.cluster.objects.removal import Removal
from enterprise_gateway.cluster.objects.start import ObjectMaker
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import KernelExists, LaunchFailed
from enterprise_gateway_common import labels

PULL_SECRET = {
    "metadata": {"name": "registry", "namespace": "gateway"},
    "type": "kubernetes.io/dockerconfigjson",
    "data": {".dockerconfigjson": "e30="},
}
BEFORE = ["secrets/registry"]
CALLS = 9  # namespace, credentials read and copied, role binding, Secret, ConfigMap, pod, two owner references


async def make(cluster, plan):
    await cluster.api.put("secrets", PULL_SECRET)
    cluster.api.requests.clear()
    maker = ObjectMaker(
        client=cluster.client, removal=Removal(client=cluster.client), gateway_namespace="gateway", sleep=cluster.pause
    )
    # Time passes by pauses only, so that a slow machine changes nothing.
    return await maker.make(plan, deadline=Deadline(5, clock=lambda: sum(cluster.pauses)))


def test_a_start_makes_its_objects_with_one_call_each_and_the_pod_owns_them(cluster_type, plan):
    async def scenario():
        async with cluster_type() as cluster:
            objects = await make(cluster, plan)
            assert len(cluster.api.requests) == CALLS
            owners = [
                document["metadata"]["ownerReferences"][0]["uid"]
                for document in cluster.api.objects.values()
                if "ownerReferences" in document["metadata"]
            ]
            assert owners == [objects.pod_uid] * 2

    asyncio.run(scenario())


@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_a_start_whose_nth_call_is_refused_leaves_nothing(cluster_type, fault_type, plan, number):
    async def scenario():
        async with cluster_type() as cluster:
            cluster.api.fault = lambda count, _request: fault_type(status=422) if count == number else None
            with pytest.raises(LaunchFailed, match="injected 422") as failure:
                await make(cluster, plan)
            assert cluster.api.left() == BEFORE
            assert "topsecret" not in str(failure.value)

    asyncio.run(scenario())


@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_a_start_whose_nth_answer_is_lost_for_good_leaves_nothing(cluster_type, fault_type, plan, number):
    """The call took effect, nobody heard of it, and no later call of the start is answered either."""

    async def scenario():
        async with cluster_type() as cluster:
            undoing = False

            def fault(count, request):
                nonlocal undoing
                # The undoing begins with a DELETE, or with a GET of the object that nobody is sure of.
                undoing = undoing or (count > number and request.method in {"DELETE", "GET"} and "/gateway/" not in request.path)
                return None if count < number or undoing else fault_type(after=count == number)

            cluster.api.fault = fault
            with pytest.raises(LaunchFailed):
                await make(cluster, plan)
            assert cluster.api.left() == BEFORE

    asyncio.run(scenario())


@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_a_start_whose_nth_answer_is_lost_once_succeeds_and_makes_nothing_twice(cluster_type, fault_type, plan, number):
    async def scenario():
        async with cluster_type() as cluster:
            cluster.api.fault = lambda count, _request: fault_type(after=True) if count == number else None
            await make(cluster, plan)
            assert len(cluster.api.left()) == len(BEFORE) + 6

    asyncio.run(scenario())


@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_a_start_that_is_cancelled_in_its_nth_call_leaves_nothing(cluster_type, fault_type, plan, number):
    async def scenario():
        async with cluster_type() as cluster:
            reached = asyncio.Event()

            def fault(count, _request):
                if count == number:
                    reached.set()
                    return fault_type(after=True, hang=True)
                return None

            cluster.api.fault = fault
            start = asyncio.create_task(make(cluster, plan))
            await reached.wait()
            await asyncio.sleep(0.05)
            start.cancel()
            with pytest.raises(asyncio.CancelledError):
                await start
            assert cluster.api.left() == BEFORE

    asyncio.run(scenario())


def test_an_object_of_somebody_else_is_neither_used_nor_deleted(cluster_type, plan):
    async def scenario():
        async with cluster_type() as cluster:
            name = plan.namespace
            await cluster.api.put("namespaces", {"metadata": {"name": name, "labels": {"kernel_id": "another"}}})
            with pytest.raises(LaunchFailed, match="already exists"):
                await make(cluster, plan)
            assert cluster.api.left() == sorted([*BEFORE, f"namespaces/{name}"])

    asyncio.run(scenario())


def test_a_kernel_that_starts_again_finds_its_namespace(cluster_type, plan):
    async def scenario():
        async with cluster_type() as cluster:
            mine = {"metadata": {"name": plan.namespace, "labels": {"kernel_id": plan.kernel_id}}}
            await cluster.api.put("namespaces", mine)
            assert (await make(cluster, plan)).owns_namespace

    asyncio.run(scenario())


def test_of_two_starts_of_one_kernel_the_later_one_leaves_what_the_other_uses(cluster_type, plan):
    async def scenario():
        async with cluster_type() as cluster:
            faster = {"metadata": {"name": plan.names.pod, "namespace": plan.namespace, "labels": {"kernel_id": plan.kernel_id}}}
            await cluster.api.put("pods", faster)
            with pytest.raises(KernelExists):
                await make(cluster, plan)
            left = cluster.api.left()
            assert f"namespaces/{plan.namespace}" in left
            assert f"pods/{plan.names.pod}" in left
            assert f"secrets/{plan.names.secret}" not in left
            assert left.count("secrets/registry") == 2

    asyncio.run(scenario())


def test_a_kernel_whose_namespace_is_just_going_waits_for_room(cluster_type, plan):
    async def scenario():
        async with cluster_type() as cluster:
            going = {"name": plan.namespace, "labels": {"kernel_id": plan.kernel_id}, "deletionTimestamp": "2026-01-01T00:00:00Z"}
            await cluster.api.put("namespaces", {"metadata": going})

            async def gone_at_last(seconds):
                await cluster.pause(seconds)
                if len(cluster.pauses) == 3:
                    await cluster.api.remove("namespaces", "", plan.namespace)

            maker = ObjectMaker(
                client=cluster.client, removal=Removal(client=cluster.client), gateway_namespace="gateway", sleep=gone_at_last
            )
            objects = await maker.make(plan, deadline=Deadline(5))
            namespace = cluster.api.objects["namespaces", "", plan.namespace]
            assert objects.namespace_uid == namespace["metadata"]["uid"]
            assert "deletionTimestamp" not in namespace["metadata"]

    asyncio.run(scenario())


def test_a_namespace_that_never_goes_ends_a_start_with_its_time(cluster_type, plan):
    async def scenario():
        async with cluster_type() as cluster:
            going = {"name": plan.namespace, "labels": {"kernel_id": plan.kernel_id}, "deletionTimestamp": "2026-01-01T00:00:00Z"}
            await cluster.api.put("namespaces", {"metadata": going})
            with pytest.raises(LaunchFailed, match="already exists"):
                await make(cluster, plan)

    asyncio.run(scenario())


def of_an_earlier_start(plan, **metadata):
    """Make the metadata of a document of the template that another start of the kernel made."""
    own = {labels.KERNEL_ID: plan.kernel_id, labels.KERNEL_LAUNCH: "l0"}
    return {"metadata": {"name": "extra", "namespace": plan.namespace, "labels": own, **metadata}}


def maker_of(cluster, sleep):
    return ObjectMaker(client=cluster.client, removal=Removal(client=cluster.client), gateway_namespace="gateway", sleep=sleep)


def test_a_kernel_whose_documents_are_just_going_waits_for_room(cluster_type, plan):
    async def scenario():
        async with cluster_type() as cluster:
            earlier = await cluster.api.put("configmaps", of_an_earlier_start(plan))

            async def gone_at_last(seconds):
                await cluster.pause(seconds)
                if len(cluster.pauses) == 3:
                    await cluster.api.remove("configmaps", plan.namespace, "extra")

            await maker_of(cluster, gone_at_last).make(plan, deadline=Deadline(5))
            assert cluster.api.objects["configmaps", plan.namespace, "extra"]["metadata"]["uid"] != earlier["metadata"]["uid"]
            assert ("DELETE", f"/api/v1/namespaces/{plan.namespace}/configmaps/extra") not in cluster.api.requests

    asyncio.run(scenario())


def test_a_document_of_an_earlier_start_that_nobody_collects_is_taken_away(cluster_type, plan):
    async def scenario():
        async with cluster_type() as cluster:
            earlier = await cluster.api.put("configmaps", of_an_earlier_start(plan))
            await make(cluster, plan)
            assert cluster.api.objects["configmaps", plan.namespace, "extra"]["metadata"]["uid"] != earlier["metadata"]["uid"]

    asyncio.run(scenario())


def test_a_document_that_is_never_gone_ends_a_start_with_its_time(cluster_type, plan):
    async def scenario():
        async with cluster_type() as cluster:
            await cluster.api.put("configmaps", of_an_earlier_start(plan, deletionTimestamp="2026-01-01T00:00:00Z"))
            with pytest.raises(LaunchFailed, match="already exists"):
                await make(cluster, plan)
            assert not [path for method, path in cluster.api.requests if method == "DELETE" and "/configmaps/" in path]

    asyncio.run(scenario())


@pytest.mark.parametrize("own", [{}, {labels.KERNEL_ID: "another", labels.KERNEL_LAUNCH: "l0"}])
def test_a_document_of_somebody_else_is_neither_waited_for_nor_deleted(cluster_type, plan, own):
    async def scenario():
        async with cluster_type() as cluster:
            await cluster.api.put("configmaps", of_an_earlier_start(plan, labels=own))
            with pytest.raises(LaunchFailed, match="already exists"):
                await make(cluster, plan)
            assert cluster.pauses == []
            assert not [path for method, path in cluster.api.requests if method == "DELETE" and "/configmaps/" in path]

    asyncio.run(scenario())


def test_a_start_that_meets_the_documents_of_a_faster_one_leaves_them_to_its_pod(cluster_type, plan):
    async def scenario():
        async with cluster_type() as cluster:
            await cluster.api.put("configmaps", of_an_earlier_start(plan))
            faster = {"name": plan.names.pod, "namespace": plan.namespace, "labels": {"kernel_id": plan.kernel_id}}

            async def pod_comes(seconds):
                await cluster.pause(seconds)
                if len(cluster.pauses) == 2:
                    await cluster.api.put("pods", {"metadata": faster})

            with pytest.raises(KernelExists):
                await maker_of(cluster, pod_comes).make(plan, deadline=Deadline(5))
            assert "configmaps/extra" in cluster.api.left()
            assert f"secrets/{plan.names.secret}" not in cluster.api.left()

    asyncio.run(scenario())


def test_documents_are_their_secrets_until_there_is_a_pod(cluster_type, fault_type, plan):
    """The Secret is all that the collector of orphans has to find where the gateway is killed in between."""

    async def scenario():
        async with cluster_type() as cluster:
            reached = asyncio.Event()

            def fault(_count, request):
                if request.path.endswith("/pods"):
                    reached.set()
                    return fault_type(hang=True)
                return None

            cluster.api.fault = fault
            start = asyncio.create_task(make(cluster, plan))
            await reached.wait()
            secret = cluster.api.objects["secrets", plan.namespace, plan.names.secret]["metadata"]
            document = cluster.api.objects["configmaps", plan.namespace, "extra"]["metadata"]
            assert [(owner["kind"], owner["uid"]) for owner in document["ownerReferences"]] == [("Secret", secret["uid"])]
            start.cancel()
            await asyncio.gather(start, return_exceptions=True)

    asyncio.run(scenario())
