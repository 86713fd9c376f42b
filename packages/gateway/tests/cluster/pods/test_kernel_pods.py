import asyncio
import base64
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from enterprise_gateway.cluster.objects.removal import Removal
from enterprise_gateway.cluster.objects.start import KernelObjects
from enterprise_gateway.cluster.objects.store import KernelStore
from enterprise_gateway.cluster.pods.annotations import Cause, Ending
from enterprise_gateway.cluster.pods.diagnosis import Graces
from enterprise_gateway.cluster.pods.kernel_pods import KernelPods
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import LaunchFailed
from enterprise_gateway_common import labels
from enterprise_gateway_common.connection import connection_file

RUNNING = {"phase": "Running", "podIP": "10.0.0.9", "containerStatuses": [{"name": "kernel", "state": {"running": {}}}]}
ENDED = {"phase": "Failed", "containerStatuses": [{"name": "kernel", "state": {"terminated": {"exitCode": 3}}}]}
RECORD = {labels.RECORD_VERSION_ANNOTATION: "1", labels.OWN_NAMESPACE_ANNOTATION: "true"}


def secret(*, whole=True):
    texts = {"launch.json": json.dumps({"environment": {}})}
    if whole:
        texts["connection.json"] = connection_file(key="topsecret", kernel_name="x")
    own = {labels.APP: labels.APP_VALUE, labels.KERNEL_ID: "k1", labels.KERNEL_LAUNCH: "l1"}
    data = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
    return {"metadata": {"name": "kernel-l1", "namespace": "home", "labels": own}, "data": data}


SILENT = {**RUNNING, "conditions": [{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}]}


class Detector:
    """Writes that a kernel is lost as soon as a test lets it."""

    def __init__(self):
        self.asked, self.may_decide, self.started_here, self.failure = 0, asyncio.Event(), None, None

    async def settle(self, watch, *, mark, started_here):
        self.asked, self.started_here = self.asked + 1, started_here
        if self.failure is not None:
            raise self.failure
        await self.may_decide.wait()
        await mark({labels.LOSS_ANNOTATION: "2026-01-01T00:00:00Z"})


@pytest.fixture
def following(cluster_type, pod):
    """Run a scenario with a pod that is followed by a replica which didn't make it."""

    def make(uid="u1", annotations=RECORD, **status):
        return pod(metadata={"uid": uid, "annotations": dict(annotations), "labels": dict(_OWN)}, **(status or RUNNING))

    def run(scenario, *, status=RUNNING):
        async def with_cluster():
            async with cluster_type() as cluster:
                await cluster.api.put("pods", make(**status), "ADDED")
                informer = cluster.informer()
                watching = asyncio.create_task(informer.run())
                await informer.wait_synced(Deadline(5))
                selector = f"{labels.APP}={labels.APP_VALUE}"
                store = KernelStore(client=cluster.client, pods=informer, label_selector=selector)
                cluster.detector = Detector()
                pods = KernelPods(
                    kernel_id="k1",
                    informer=informer,
                    store=store,
                    removal=Removal(client=cluster.client),
                    loss_detector=cluster.detector,
                )
                pods.follow(informer.objects["home", "kernel"])
                cluster.make = make
                try:
                    async with asyncio.timeout(10):
                        await scenario(cluster, pods)
                finally:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)

        asyncio.run(with_cluster())

    return run


_OWN = {labels.APP: labels.APP_VALUE, labels.KERNEL_ID: "k1", labels.KERNEL_LAUNCH: "l1"}


def paused(pods):
    """Have waits for a change of the pod be over at once; return how long they would have been."""
    pauses = []

    async def changed(seconds):
        pauses.append(seconds)

    pods.watch.changed = changed
    return pauses


def test_an_end_that_was_announced_is_told_from_a_death(following):
    async def scenario(cluster, pods):
        end = asyncio.create_task(pods.ended())
        await pods.announce(Cause.SHUTDOWN, "nobody used it")
        await cluster.api.remove("pods", "home", "kernel")
        ending = await end
        assert (ending.cause, ending.words) == (Cause.SHUTDOWN, "nobody used it")

    following(scenario)


def test_an_end_that_nobody_announced_is_a_death_with_its_cause(following):
    async def scenario(cluster, pods):
        end = asyncio.create_task(pods.ended())
        await cluster.api.put("pods", cluster.make(**ENDED))
        assert "status 3" in await end

    following(scenario)


def test_an_announced_restart_that_never_came_is_a_death(following):
    async def scenario(cluster, pods):
        late = Ending(cause=Cause.RESTART, at="2020-01-01T00:00:00Z").annotation()
        await cluster.api.put("pods", cluster.make(annotations={**RECORD, **late}))
        await cluster.api.remove("pods", "home", "kernel")
        assert isinstance(await pods.ended(), str)

    following(scenario)


def test_a_kernel_that_tells_its_connection_has_no_record_before_it_did(following):
    async def scenario(cluster, pods):
        await cluster.api.put("secrets", secret(whole=False), "ADDED")
        record = asyncio.create_task(pods.record())
        while len([path for _, path in cluster.api.requests if "/secrets/" in path]) < 1:
            await asyncio.sleep(0)
        await cluster.api.put("secrets", secret())
        # As the replica does that waited for it.
        await pods.record_activity(datetime(2026, 1, 1, tzinfo=UTC))
        assert (await record).connection_info["key"] == b"topsecret"

    following(scenario)


def test_a_change_of_the_pod_while_its_record_is_read_isnt_missed(following):
    async def scenario(cluster, pods):
        reads = []

        class Store:
            async def record(self, pod):
                reads.append(pod)
                if len(reads) == 1:
                    before = pods.state
                    await cluster.api.put("pods", cluster.make(annotations={**RECORD, labels.LAST_ACTIVITY_ANNOTATION: "x"}))
                    while pods.state is before:
                        await asyncio.sleep(0.001)
                    return None
                return "record"

        pauses = paused(pods)
        pods._store = Store()
        assert await pods.record() == "record"
        assert pauses == []

    following(scenario)


def test_without_a_change_a_record_is_looked_for_ever_more_rarely(following):
    async def scenario(cluster, pods):
        pauses = paused(pods)

        class Store:
            async def record(self, pod):
                return "record" if len(pauses) == 7 else None

        pods._store = Store()
        assert await pods.record() == "record"
        assert pauses == [2, 4, 8, 16, 32, 60, 60]

    following(scenario)


def test_a_pod_that_is_gone_before_it_had_a_record_is_waited_for_no_longer(following):
    async def scenario(cluster, pods):
        record = asyncio.create_task(pods.record())
        await cluster.api.remove("pods", "home", "kernel")
        with pytest.raises(LaunchFailed, match="deleted"):
            await record

    following(scenario)


def test_a_pod_in_another_namespace_isnt_the_kernels_whatever_its_labels_say(following):
    async def scenario(cluster, pods):
        following_next = asyncio.create_task(pods.next_pod())
        forged = cluster.make(uid="u8")
        forged["metadata"]["namespace"] = "elsewhere"
        await cluster.api.put("pods", forged, "ADDED")
        while ("elsewhere", "kernel") not in pods._informer.objects:
            await asyncio.sleep(0.001)
        assert pods._others() == []
        await cluster.api.remove("pods", "home", "kernel")
        await cluster.api.put("pods", cluster.make(uid="u2"), "ADDED")
        await following_next
        assert (pods.state.namespace, pods.state.uid) == ("home", "u2")
        await pods.take_away(restart=True, others=True)
        assert cluster.api.left() == ["pods/kernel"]

    following(scenario)


def test_a_pod_that_ended_before_it_had_a_record_is_no_kernel(following):
    async def scenario(cluster, pods):
        await cluster.api.put("secrets", secret(whole=False), "ADDED")
        with pytest.raises(LaunchFailed, match="status 3"):
            await pods.record()

    following(scenario, status=ENDED)


def test_the_next_pod_of_the_kernel_is_followed(following):
    async def scenario(cluster, pods):
        following_next = asyncio.create_task(pods.next_pod())
        await cluster.api.remove("pods", "home", "kernel")
        await cluster.api.put("pods", cluster.make(uid="u2"), "ADDED")
        await following_next
        assert pods.state.uid == "u2"

    following(scenario)


def test_activity_is_written_only_where_it_is_newer_than_what_is_written(following):
    async def scenario(cluster, pods):
        moment = datetime(2026, 1, 2, tzinfo=UTC)
        await pods.record_activity(moment)
        await pods.marked_as_started()
        cluster.api.requests.clear()
        await pods.record_activity(moment)
        await pods.record_activity(datetime(2026, 1, 1, tzinfo=UTC))
        assert cluster.api.requests == []

    following(scenario)


def test_what_cant_be_told_to_other_replicas_holds_up_nothing(following, fault_type):
    async def scenario(cluster, pods):
        cluster.api.fault = lambda _count, _request: fault_type(status=422)
        assert not await pods.mark({"x": "y"})
        cluster.api.fault = lambda _count, _request: None
        assert await pods.mark({"x": "y"})

    following(scenario)


def test_ending_a_kernel_takes_the_pod_away_that_another_replica_made_meanwhile(following):
    async def scenario(cluster, pods):
        await cluster.api.put("namespaces", {"metadata": {"name": "home", "labels": dict(_OWN)}})
        await cluster.api.remove("pods", "home", "kernel")
        await cluster.api.put("pods", cluster.make(uid="u2"), "ADDED")
        while pods._informer.objects["home", "kernel"].uid != "u2":
            await asyncio.sleep(0.001)
        await pods.take_away(restart=False, others=True)
        assert cluster.api.left() == []

    following(scenario)


def test_a_pod_that_another_replica_ended_before_its_making_was_answered_is_known_to_be_gone(following, plan):
    async def scenario(cluster, pods):
        class Maker:
            """Makes a pod that is gone before its maker hears of it."""

            async def make(self, plan, *, deadline):
                made = cluster.make(uid="u7")
                made["metadata"] |= {"namespace": plan.namespace, "name": plan.names.pod}
                await cluster.api.put("pods", made, "ADDED")
                while (plan.namespace, plan.names.pod) not in pods._informer.objects:
                    await asyncio.sleep(0.001)
                await cluster.api.remove("pods", plan.namespace, plan.names.pod)
                while (plan.namespace, plan.names.pod) in pods._informer.objects:
                    await asyncio.sleep(0.001)
                return KernelObjects(plan.namespace, False, plan.names.pod, "u7")

        watch = await pods.make(Maker(), plan, deadline=Deadline(5))
        assert watch.is_gone
        assert not watch.alive
        with pytest.raises(LaunchFailed, match="deleted while it started"):
            await watch.running(client=cluster.client, graces=Graces(), deadline=Deadline(5))

    following(scenario)


def test_a_pod_that_was_made_is_watched_from_then_on_though_an_older_one_had_its_name(following, plan):
    async def scenario(cluster, pods):
        class Maker:
            async def make(self, plan, *, deadline):
                return KernelObjects("home", False, "kernel", "u2")

        names = replace(plan.names, pod="kernel")
        watch = await pods.make(Maker(), replace(plan, namespace="home", names=names), deadline=Deadline(5))
        assert watch.alive
        assert watch.state is None
        await cluster.api.put("pods", cluster.make(uid="u2"))
        await watch.runs_or_ended()
        assert watch.state.uid == "u2"

    following(scenario)


def test_a_kernel_whose_node_is_silent_goes_on_until_it_is_found_to_be_lost(following):
    async def scenario(cluster, pods):
        end = asyncio.create_task(pods.ended())
        await cluster.api.put("pods", cluster.make(**SILENT))
        while not cluster.detector.asked:
            await asyncio.sleep(0.001)
        await cluster.api.put("pods", cluster.make(**SILENT, message="a change"))
        while pods.state.message != "a change":
            await asyncio.sleep(0.001)
        assert (end.done(), cluster.detector.asked, cluster.detector.started_here) == (False, 1, False)
        cluster.detector.may_decide.set()
        assert "doesn't answer any more" in await end

    following(scenario)


def test_a_kernel_that_is_in_doubt_from_the_first_moment_is_asked(following):
    async def scenario(cluster, pods):
        while not cluster.detector.asked:
            await asyncio.sleep(0.001)

    following(scenario, status=SILENT)


def test_a_kernel_that_is_followed_no_longer_is_asked_no_more(following):
    async def scenario(cluster, pods):
        while not cluster.detector.asked:
            await asyncio.sleep(0.001)
        pods.forget()
        cluster.detector.may_decide.set()
        cluster.api.requests.clear()
        for _ in range(20):
            await asyncio.sleep(0.001)
        # The informer may be about to begin its watch; nothing is written on the pod.
        assert [method for method, _ in cluster.api.requests if method != "GET"] == []

    following(scenario, status=SILENT)


def test_a_kernel_that_cant_be_asked_is_told_to_the_operator_and_asked_at_the_next_change(following, caplog):
    async def scenario(cluster, pods):
        cluster.detector.failure = RuntimeError("a mistake")
        for count in (1, 2):
            await cluster.api.put("pods", cluster.make(**SILENT, message=str(count)))
            while cluster.detector.asked < count or pods._doubt is not None:
                await asyncio.sleep(0.001)

    following(scenario)
    assert "A kernel can't be asked whether it is lost" in caplog.text
