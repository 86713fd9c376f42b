import asyncio
import base64
import json
from datetime import UTC, datetime

import pytest

from enterprise_gateway.cluster.objects.store import KernelStore
from enterprise_gateway.cluster.pods.annotations import Cause, Ending
from enterprise_gateway.cluster.pods.state import pod_state
from enterprise_gateway.deadline import Deadline
from enterprise_gateway_common import labels
from enterprise_gateway_common.connection import connection_file

SELECTOR = f"{labels.APP}={labels.APP_VALUE}"
OWN = {labels.APP: labels.APP_VALUE, labels.KERNEL_ID: "k1", labels.KERNEL_LAUNCH: "l1"}
RUNNING = {"phase": "Running", "podIP": "10.0.0.9", "containerStatuses": [{"name": "kernel", "state": {"running": {}}}]}
DESCRIBED = {
    labels.RECORD_VERSION_ANNOTATION: "1",
    labels.USERNAME_ANNOTATION: "Alice",
    labels.KERNEL_NAME_ANNOTATION: "python_kubernetes",
}


def secret(name="kernel-l1", *, own=OWN, connection=None):
    texts = {
        "connection.json": connection or connection_file(key="topsecret", kernel_name="x"),
        "launch.json": json.dumps({"environment": {"KERNEL_FOO": "bar"}, "judged": ["KERNEL_FOO"]}),
    }
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    return {"metadata": {"name": name, "namespace": "home", "labels": dict(own)}, "data": data}


@pytest.fixture
def seen(pod):
    """Make the pod of a kernel, with what its gateway wrote on it."""

    def make(**change):
        return pod(metadata={"labels": dict(OWN), "annotations": {**DESCRIBED, **change}}, **RUNNING)

    return make


async def store_of(cluster):
    informer = cluster.informer()
    listed, _ = await cluster.client.list_as("Pod", None, pod_state, label_selector=SELECTOR, deadline=Deadline(5))
    informer._take_list(listed)
    cluster.api.requests.clear()
    return KernelStore(client=cluster.client, pods=informer, label_selector=SELECTOR)


def test_kernels_are_known_by_their_pods_and_their_secrets_in_one_call(cluster_type, seen):
    async def scenario():
        async with cluster_type() as cluster:
            await cluster.api.put("pods", seen(**{labels.LAST_ACTIVITY_ANNOTATION: "2026-01-01T00:00:00Z"}))
            await cluster.api.put("secrets", secret())
            store = await store_of(cluster)
            (record,) = (await store.records()).values()
            assert (record.kernel_id, record.username, record.kernel_name) == ("k1", "Alice", "python_kubernetes")
            assert record.connection_info["ip"] == "10.0.0.9"
            assert record.connection_info["key"] == b"topsecret"
            assert (record.environment, record.judged) == ({"KERNEL_FOO": "bar"}, {"KERNEL_FOO"})
            assert len(cluster.api.requests) == 1
            assert await store.record(record.pod) == record

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({labels.RECORD_VERSION_ANNOTATION: "99"}, secret()),
        ({}, secret(connection="{")),
        ({}, secret(own={**OWN, labels.KERNEL_LAUNCH: "earlier"})),
    ],
)
def test_a_kernel_whose_record_cant_be_read_is_left_alone(cluster_type, seen, caplog, change, kept):
    async def scenario():
        async with cluster_type() as cluster:
            await cluster.api.put("pods", seen(**change))
            await cluster.api.put("secrets", kept)
            assert await (await store_of(cluster)).records() == {}

    asyncio.run(scenario())
    assert "topsecret" not in caplog.text


def test_only_what_belongs_to_no_pod_and_is_old_is_taken_away(cluster_type, seen):
    async def scenario():
        async with cluster_type() as cluster:
            await cluster.api.put("pods", seen(**{labels.LAST_ACTIVITY_ANNOTATION: "2026-01-01T00:00:00Z"}))
            await cluster.api.put("secrets", secret())
            orphan = {**OWN, labels.KERNEL_ID: "gone"}
            await cluster.api.put("secrets", secret("old", own=orphan))
            await cluster.api.put("namespaces", {"metadata": {"name": "old", "labels": orphan}})
            young = secret("young", own=orphan)
            young["metadata"]["creationTimestamp"] = "2026-01-01T01:00:00Z"
            await cluster.api.put("secrets", young)
            store = await store_of(cluster)
            now = datetime(2026, 1, 1, 1, 1, tzinfo=UTC)
            assert sorted(await store.collect_orphans(older_than=600, now=now)) == ["Namespace old", "Secret old"]
            assert cluster.api.left() == ["pods/kernel", "secrets/kernel-l1", "secrets/young"]

    asyncio.run(scenario())


def test_the_moment_of_last_use_is_written_on_the_pod(cluster_type, seen):
    async def scenario():
        async with cluster_type() as cluster:
            await cluster.api.put("pods", seen())
            store = await store_of(cluster)
            (state,) = store._pods.objects.values()
            await store.mark(state, {labels.LAST_ACTIVITY_ANNOTATION: "2026-01-02T03:04:05.600000Z"})
            written = cluster.api.objects["pods", "home", "kernel"]["metadata"]["annotations"]
            assert written[labels.LAST_ACTIVITY_ANNOTATION] == "2026-01-02T03:04:05.600000Z"
            assert written[labels.USERNAME_ANNOTATION] == "Alice"

    asyncio.run(scenario())


def test_a_pod_whose_start_or_end_nobody_finished_is_taken_away(cluster_type, pod):
    def left(name, *, annotations=None, **status):
        own = {**OWN, labels.KERNEL_ID: name}
        return pod(name, kernel_id=name, metadata={"labels": own, "annotations": annotations or {}}, **status)

    ended = {"phase": "Failed"}
    started = {labels.LAST_ACTIVITY_ANNOTATION: "2026-01-01T00:00:00Z"}
    ending = Ending(cause=Cause.SHUTDOWN, at="2026-01-01T00:00:00Z").annotation()

    async def scenario():
        async with cluster_type() as cluster:
            await cluster.api.put("pods", left("never-ran", phase="Pending"))
            await cluster.api.put("pods", left("never-answered", **ended))
            await cluster.api.put("pods", left("was-shut-down", annotations={**started, **ending}, **ended))
            await cluster.api.put("pods", left("died", annotations=started, **ended))
            await cluster.api.put("pods", left("runs", annotations={**started, **ending}, **RUNNING))
            await cluster.api.put("pods", left("hangs", annotations=DESCRIBED, **RUNNING))
            await cluster.api.put("pods", left("isnt-marked-yet", annotations=DESCRIBED, **RUNNING))
            await cluster.api.put("pods", left("has-no-record", **RUNNING))
            store = await store_of(cluster)
            now = datetime(2026, 1, 1, 1, 1, tzinfo=UTC)
            taken = await store.collect_orphans(older_than=60, now=now, answering={"isnt-marked-yet"})
            assert sorted(taken) == ["Pod hangs", "Pod never-answered", "Pod never-ran", "Pod was-shut-down"]
            assert cluster.api.left() == ["pods/died", "pods/has-no-record", "pods/isnt-marked-yet", "pods/runs"]

    asyncio.run(scenario())


def test_a_kernel_is_found_past_the_watch(cluster_type, seen):
    async def scenario():
        async with cluster_type() as cluster:
            store = await store_of(cluster)
            assert await store.find("k1") is None
            await cluster.api.put("pods", seen())
            assert (await store.find("k1")).name == "kernel"
            assert await store.find("k2") is None

    asyncio.run(scenario())
