"""With a cache of the cluster that a test draws."""

import asyncio
import uuid
from dataclasses import replace
from types import SimpleNamespace

import pytest

from enterprise_gateway.cluster.pods.annotations import Cause, Ending
from enterprise_gateway.cluster.pods.state import pod_state
from enterprise_gateway.errors import (
    ClusterNotSynced,
    Gone,
    KernelExists,
    KernelNotFound,
    KubernetesUnavailable,
    LimitReached,
    NotSupported,
)
from enterprise_gateway.identity import ANONYMOUS, Identity
from enterprise_gateway.kernels import registry
from enterprise_gateway.kernels.admission import AdmissionState
from enterprise_gateway.kernels.requests import StartRequest
from enterprise_gateway.replicas import adoption as module
from enterprise_gateway.replicas.adoption import Adoption
from enterprise_gateway.replicas.cluster_sync import ClusterSync
from enterprise_gateway.replicas.owners import ClusterOwners, owners_of
from enterprise_gateway.replicas.supervision import ReplicatedSupervision
from enterprise_gateway_common import labels

ID = "01234567-89ab-4cde-8f01-23456789abcd"
STARTED = {labels.LAST_ACTIVITY_ANNOTATION: "2026-01-02T00:00:00Z"}


class Cache:
    """Stands for the informer."""

    def __init__(self):
        self.objects, self.handlers, self.in_order = {}, [], True
        self.synced, self.lost_seconds = True, 0.0

    def subscribe(self, handler):
        self.handlers.append(handler)

    def show(self, pod):
        self.objects[pod.key] = pod
        for handler in self.handlers:
            handler(pod.key, pod)

    def remove(self, pod):
        del self.objects[pod.key]
        for handler in self.handlers:
            handler(pod.key, None)

    def show_list(self, *pods):
        self.in_order = False
        for pod in pods:
            self.show(pod)
        self.in_order = True


class Store:
    def __init__(self):
        self.pods, self.questions, self.error = {}, [], None
        self.answer = asyncio.Event()
        self.answer.set()

    async def records(self):
        return {}

    async def all_pods(self):
        await self.answer.wait()
        if self.error:
            raise self.error
        return list(self.pods.values())

    async def find(self, kernel_id):
        self.questions.append(kernel_id)
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return self.pods.get(kernel_id)


class Cluster:
    """Stands for the connection to a cluster."""

    def __init__(self):
        self.connected, self.absent, self.mode, self.may_exist = True, None, "auto", True
        self.syncing = asyncio.Event()
        self.syncing.set()
        removal = SimpleNamespace(is_pending=lambda _pod: False)
        self.services = SimpleNamespace(pods=Cache(), store=Store(), ready=self._ready, removal=removal)

    async def _ready(self, _seconds):
        await self.syncing.wait()

    async def open(self):
        if self.absent:
            raise self.absent
        return self.services


class Pods:
    def __init__(self):
        self.followed, self.objects = None, None

    def follow(self, pod, record=None):
        self.followed, self.objects = pod, SimpleNamespace(pod_uid=pod.uid)

    def forget(self):
        self.followed = None


class ReplicatedLifecycle:
    """Follows nothing and starts when a test lets it."""

    def __init__(self, kernel):
        self.kept, self._kernel = Pods(), kernel
        self.supervision = ReplicatedSupervision(
            kernel=kernel, starter=None, on_restart=None, provisioner=SimpleNamespace(pods=self.kept), ownership=None
        )
        self.may_finish, self.phases, self.failure, self.ended = asyncio.Event(), {}, None, False

    async def start(self, *, timeout, arguments):
        await self.may_finish.wait()
        if self.failure:
            raise self.failure
        self._kernel.started()

    def follow(self):
        self._kernel.started_elsewhere()

    async def shutdown(self, *, reason=None):
        self.ended = True
        self._kernel.dead(reason)


class Replica:
    """The kernels of one replica, with a cache of its own."""

    def __init__(self, kit_type, specs, make_kernel, clock):
        self.cluster, self.lifecycles, self.noticed = Cluster(), {}, []
        self._make_kernel = make_kernel
        self.sync = ClusterSync(cluster=self.cluster, loss_grace=60)
        self.kit = kit_type(specs, make_kernel, clock, others=ClusterOwners(cluster=self.cluster, sync=self.sync))
        self.adoption = Adoption(
            cluster=self.cluster,
            sync=self.sync,
            kernels=self.kit.replicated,
            catalogue=self.kit.catalogue,
            make_kernel=self._make,
            admission=self.kit.admission,
            noticed=lambda pod: self.noticed.append(pod.name),
            clock=clock,
        )
        self.kernels = self.kit.with_peers(self.adoption, self._make)
        self.cache, self.store = self.cluster.services.pods, self.cluster.services.store

    def _make(self, *, kernel_id, kernelspec, user, request=None):
        kernel = self._make_kernel(kernel_id, user, kernelspec.name, kernelspec)
        lifecycle = self.lifecycles[kernel_id] = ReplicatedLifecycle(kernel)
        return kernel, lifecycle

    def ids(self):
        return {kernel.kernel_id for kernel in self.kernels.all()}

    async def until(self, condition):
        while not condition():
            await asyncio.sleep(0)


@pytest.fixture
def replica(kit, kit_type, make_kernel, clock):
    return Replica(kit_type, kit.specs, make_kernel, clock)


def pod(kernel_id=ID, *, user="alice", uid="u1", kernelspec="python3", annotations=STARTED, **change):
    own = {labels.KERNEL_ID: kernel_id}
    described = {labels.KERNEL_NAME_ANNOTATION: kernelspec, labels.USERNAME_ANNOTATION: user, **annotations}
    metadata = {"name": f"pod-{kernel_id}", "namespace": "home", "uid": uid, "labels": own, "annotations": described}
    return replace(pod_state({"metadata": {**metadata, "creationTimestamp": "2026-01-01T00:00:00Z"}}), **change)


def run(scenario):
    async def bounded():
        async with asyncio.timeout(10):
            await scenario

    asyncio.run(bounded())


# ------------------------------------------------------------------------------------------------------------ adopting


def test_kernels_that_run_are_known_at_the_start_and_those_that_come_later_as_they_appear(replica):
    other = str(uuid.uuid4())

    async def steps():
        replica.cache.show(pod())
        await replica.adoption.begin()
        assert replica.ids() == {ID}
        replica.cache.show(pod(other, annotations={}))
        await replica.until(lambda: replica.ids() == {ID, other})
        assert [kernel.kernel_id for kernel in replica.kernels.all(Identity("bob"))] == []
        assert replica.kernels.get(ID, ANONYMOUS).last_activity.isoformat() == "2026-01-02T00:00:00+00:00"

    run(steps())


@pytest.mark.parametrize(
    "change",
    [
        {"deleting": True},
        {"phase": "Failed", "annotations": {}},
        {"phase": "Failed", "annotations": {**STARTED, **Ending(cause=Cause.SHUTDOWN, at="").annotation()}},
        {"kernelspec": "gone"},
    ],
)
def test_what_is_no_kernel_any_more_or_none_of_this_gateway_is_left_alone(replica, change):
    annotations = change.get("annotations", STARTED)
    rest = {name: value for name, value in change.items() if name != "annotations"}

    async def steps():
        await replica.adoption.begin()
        replica.cache.show(pod(annotations=annotations, **rest))
        await asyncio.sleep(0.05)
        assert replica.ids() == set()

    run(steps())


def test_a_kernel_that_vanishes_while_it_is_looked_at_is_not_known(replica):
    async def steps():
        await replica.adoption.begin()
        replica.cache.show(pod())
        replica.cache.remove(pod())
        while replica.adoption._tasks:
            await asyncio.sleep(0)
        assert replica.ids() == set()
        # And the next one of its name is.
        replica.cache.show(pod(uid="u2"))
        await replica.until(lambda: replica.ids() == {ID})

    run(steps())


def test_a_kernel_whose_kernelspec_comes_after_it_is_known_then(replica, tmp_path, clock, caplog):
    async def steps():
        await replica.adoption.begin()
        replica.cache.show(pod(kernelspec="late"))
        for _ in range(2):
            await replica.until(lambda: not replica.adoption._tasks)
            assert replica.ids() == set()
            await replica.adoption.look_again()
        await replica.until(lambda: not replica.adoption._tasks)
        assert len([record for record in caplog.records if "left alone" in record.message]) == 1
        (tmp_path / "specs" / "python3").rename(tmp_path / "specs" / "late")
        clock.now += 61
        await replica.adoption.look_again()
        await replica.until(lambda: replica.ids() == {ID})

    run(steps())


def test_a_kernel_that_was_left_alone_and_is_gone_is_forgotten(replica):
    async def steps():
        await replica.adoption.begin()
        replica.cache.show(pod(kernelspec="gone"))
        await replica.until(lambda: replica.adoption._left_alone)
        replica.cache.remove(pod())
        await replica.adoption.look_again()
        assert replica.adoption._left_alone == set()

    run(steps())


@pytest.mark.parametrize(
    ("created", "followed"),
    [("2026-01-01T00:00:01Z", "u2"), ("2025-12-31T23:59:59Z", "u1"), ("2026-01-01T00:00:00Z", "u1")],
    ids=["later", "older", "of the same second"],
)
def test_of_two_pods_of_one_name_the_later_one_is_adopted(replica, created, followed):
    async def steps():
        await replica.adoption.begin()
        # One that is on its way out isn't looked at, so the API server is asked.
        replica.cache.objects[pod().key] = pod(uid="u2", created=created, deleting=True)
        replica.store.pods[ID] = pod()
        await replica.kernels.find(ID, ANONYMOUS)
        assert replica.lifecycles[ID].kept.followed.uid == followed

    run(steps())


def test_a_kernel_is_found_though_its_older_pod_vanishes_meanwhile(replica):
    async def steps():
        await replica.adoption.begin()
        old = pod(uid="u0", created="2025-12-31T00:00:00Z", deleting=True)
        replica.cache.show(old)
        replica.store.pods[ID] = pod()
        finding = asyncio.create_task(replica.kernels.find(ID, ANONYMOUS))
        await replica.until(lambda: replica.store.questions)
        replica.cache.remove(old)
        await finding
        assert replica.lifecycles[ID].kept.followed.uid == "u1"

    run(steps())


def test_a_kernel_whose_pod_vanishes_while_the_api_server_is_asked_for_it_is_not_known(replica):
    async def steps():
        await replica.adoption.begin()
        replica.store.pods[ID] = pod()
        finding = asyncio.create_task(replica.kernels.find(ID, ANONYMOUS))
        await replica.until(lambda: replica.store.questions)
        replica.cache.show(pod(deleting=True))
        replica.cache.remove(pod())
        with pytest.raises(KernelNotFound):
            await finding

    run(steps())


def test_a_kernel_whose_pod_is_followed_by_another_one_while_it_is_looked_at_is_found_in_that_one(replica):
    async def steps():
        await replica.adoption.begin()
        replica.cache.show(pod())
        replica.cache.remove(pod())
        replica.cache.show(pod(uid="u2"))
        await replica.until(lambda: replica.ids() == {ID})
        assert replica.lifecycles[ID].kept.followed.uid == "u2"

    run(steps())


def test_a_kernel_that_is_known_is_only_noticed(replica):
    async def steps():
        await replica.adoption.begin()
        replica.cache.show(pod())
        await replica.until(lambda: replica.ids() == {ID})
        kernel = replica.kernels.get(ID, ANONYMOUS)
        replica.cache.show(pod())
        await asyncio.sleep(0.01)
        assert replica.kernels.get(ID, ANONYMOUS) is kernel
        assert len(replica.noticed) == 2

    run(steps())


def test_a_dead_kernel_makes_room_for_one_that_somebody_started_again(replica):
    async def steps():
        await replica.adoption.begin()
        replica.cache.show(pod())
        await replica.until(lambda: replica.ids() == {ID})
        dead = replica.kernels.get(ID, ANONYMOUS)
        dead.dead("it died")
        replica.cache.show(pod(uid="u2"))
        await replica.until(lambda: ID in replica.ids())
        assert replica.kernels.get(ID, ANONYMOUS) is not dead

    run(steps())


# ------------------------------------------------------------------------------------------------------------- look-up


def test_a_kernel_is_found_before_the_watch_shows_it_and_many_who_ask_are_one_call(replica):
    async def steps():
        await replica.adoption.begin()
        replica.store.pods[ID] = pod()
        found = await asyncio.gather(*(replica.kernels.find(ID.upper(), ANONYMOUS) for _ in range(5)))
        assert {kernel.kernel_id for kernel in found} == {ID}
        assert replica.store.questions == [ID]
        replica.cache.show(pod())
        await asyncio.sleep(0.01)
        assert replica.kernels.get(ID, ANONYMOUS) is found[0]

    run(steps())


def test_an_unknown_id_is_asked_for_once_in_a_moment_and_what_is_no_id_never(replica):
    async def steps():
        await replica.adoption.begin()
        for kernel_id in (ID, ID, "x", "../" + ID, ID + "0"):
            with pytest.raises(KernelNotFound):
                await replica.kernels.find(kernel_id, ANONYMOUS)
        assert replica.store.questions == [ID]

    run(steps())


def test_while_the_cluster_doesnt_answer_nobody_is_told_that_a_kernel_is_gone(replica):
    async def steps():
        await replica.adoption.begin()
        replica.store.error = KubernetesUnavailable("away", kind="Pod")
        # Jupyter Server asks again after a tenth of a second, and believes that answer.
        for _ in range(3):
            with pytest.raises(KubernetesUnavailable) as caught:
                await replica.kernels.find(ID, ANONYMOUS)
            assert caught.value.retry_after > 0
        replica.store.error = None
        replica.store.pods[ID] = pod()
        assert (await replica.kernels.find(ID, ANONYMOUS)).kernel_id == ID

    run(steps())


def test_before_the_kernels_of_the_cluster_are_known_none_is_said_not_to_exist(replica):
    async def steps():
        replica.cluster.absent = KubernetesUnavailable("away", kind="Pod")
        with pytest.raises(KubernetesUnavailable):
            await replica.adoption.begin()
        with pytest.raises(ClusterNotSynced):
            await replica.kernels.find(ID, ANONYMOUS)
        replica.cluster.absent = NotSupported("there is none")
        with pytest.raises(NotSupported):
            await replica.adoption.begin()
        with pytest.raises(KernelNotFound):
            await replica.kernels.find(ID, ANONYMOUS)

    run(steps())


def test_before_anybody_looked_for_the_clusters_kernels_none_is_denied_none_listed_and_none_counted(replica):
    async def steps():
        with pytest.raises(ClusterNotSynced):
            await replica.kernels.find(ID, ANONYMOUS)
        with pytest.raises(ClusterNotSynced):
            replica.kernels.check_synced()
        with pytest.raises(ClusterNotSynced):
            await replica.kernels.start(StartRequest(kernel_name=None, env={"KERNEL_ID": ID}), ANONYMOUS)
        replica.kit.in_force.now = replica.kit.rules(total=5)
        with pytest.raises(ClusterNotSynced):
            await replica.kernels.start(StartRequest(kernel_name=None, env={}), ANONYMOUS)

    run(steps())


def test_kernels_are_listed_when_all_are_adopted_and_not_when_only_some_are(replica):
    async def steps():
        replica.cache.show(pod())
        replica.cluster.syncing.clear()
        finding = asyncio.create_task(replica.adoption.begin())
        await asyncio.sleep(0)
        with pytest.raises(ClusterNotSynced):
            replica.kernels.check_synced()
        replica.cluster.syncing.set()
        await replica.until(lambda: replica.sync.done)
        assert replica.ids() == {ID}
        replica.kernels.check_synced()
        await finding

    run(steps())


def test_a_start_waits_a_moment_for_the_clusters_kernels_and_no_longer(replica, monkeypatch):
    async def steps():
        replica.cluster.syncing.clear()
        joining = asyncio.create_task(replica.adoption.join())
        await asyncio.sleep(0)
        assert not joining.done()
        replica.cluster.syncing.set()
        await joining
        assert replica.sync.done

        replica.sync._phase = type(replica.sync._phase).SYNCING
        replica.cluster.syncing.clear()
        monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.0)
        with pytest.raises(ClusterNotSynced):
            await replica.adoption.join()

    run(steps())


def test_a_cluster_that_the_administrator_demands_and_that_isnt_there_lets_no_kernel_be_denied(replica):
    async def steps():
        replica.cluster.mode, replica.cluster.absent = "on", NotSupported("there is none")
        with pytest.raises(NotSupported):
            await replica.adoption.begin()
        with pytest.raises(ClusterNotSynced):
            await replica.kernels.find(ID, ANONYMOUS)

    run(steps())


def test_an_id_that_another_replica_uses_for_another_user_is_refused(replica):
    async def steps():
        await replica.adoption.begin()
        replica.store.pods[ID] = pod(user="bob")
        with pytest.raises(Exception, match="KERNEL_ID is in use"):
            await replica.kernels.start(StartRequest(kernel_name=None, env={"KERNEL_ID": ID}), Identity("alice"))

    run(steps())


def test_of_two_starts_of_one_id_at_two_replicas_the_slower_one_answers_with_the_others_kernel(replica):
    async def steps():
        await replica.adoption.begin()
        request = StartRequest(kernel_name=None, env={"KERNEL_ID": ID, "KERNEL_USERNAME": "alice"})
        task = asyncio.create_task(replica.kernels.start(request, ANONYMOUS))
        await replica.until(lambda: ID in replica.lifecycles)
        lost = replica.lifecycles[ID]
        lost.failure = KernelExists()
        replica.cache.show(pod())
        lost.may_finish.set()
        kernel, new = await task
        assert (kernel.kernel_id, new) == (ID, False)
        assert replica.lifecycles[ID] is not lost

    run(steps())


# -------------------------------------------------------------------------------------------------------------- limits


async def starting(replica, user="alice"):
    """Return a start that is under way, and its kernel's id."""
    before = set(replica.lifecycles)
    request = StartRequest(kernel_name=None, env={})
    task = asyncio.create_task(replica.kernels.start(request, Identity(user)))
    await replica.until(lambda: set(replica.lifecycles) - before)
    (kernel_id,) = set(replica.lifecycles) - before
    await asyncio.sleep(0)
    return task, kernel_id


@pytest.mark.parametrize("limits", [{"per_user": 1}, {"total": 1}])
def test_kernels_of_other_replicas_count(replica, limits):
    replica.kit.in_force.now = replica.kit.rules(**limits)

    async def steps():
        await replica.adoption.begin()
        replica.cache.objects["home", "x"] = pod()
        with pytest.raises(LimitReached):
            await replica.kernels.start(StartRequest(kernel_name=None, env={}), Identity("alice"))

    run(steps())


def test_of_two_starts_at_once_the_one_whose_pod_was_made_later_ends(replica):
    replica.kit.in_force.now = replica.kit.rules(per_user=1)

    async def steps():
        await replica.adoption.begin()
        task, kernel_id = await starting(replica)
        # Another replica's pod first, then the own one: the order in which the cluster made them.
        replica.cache.show(pod())
        replica.cache.show(pod(kernel_id, uid="u2", annotations={}))
        with pytest.raises(LimitReached):
            await task
        assert kernel_id not in replica.ids()
        assert replica.kit.metrics.launches == [("python3", "LimitReached")]

    run(steps())


def test_of_two_starts_at_once_the_one_whose_pod_was_made_first_goes_on(replica):
    replica.kit.in_force.now = replica.kit.rules(per_user=1)

    async def steps():
        await replica.adoption.begin()
        task, kernel_id = await starting(replica)
        replica.cache.show(pod(kernel_id, uid="u2", annotations={}))
        replica.cache.show(pod())
        # Seen again, as it changes on its way.
        replica.cache.show(pod(kernel_id, uid="u2", annotations={}))
        replica.lifecycles[kernel_id].may_finish.set()
        kernel, _ = await task
        assert kernel.kernel_id == kernel_id

    run(steps())


@pytest.mark.parametrize("others", [[pod()], []])
def test_where_the_order_is_not_known_all_that_there_is_counts(replica, others):
    replica.kit.in_force.now = replica.kit.rules(per_user=1)

    async def steps():
        await replica.adoption.begin()
        task, kernel_id = await starting(replica)
        own = pod(kernel_id, uid="u2", annotations={})
        replica.store.pods = {one.kernel_id: one for one in [own, *others]}
        replica.cache.show_list(own)
        while replica.kernels.table[kernel_id].admission.state in {AdmissionState.OPEN, AdmissionState.ASKING}:
            await asyncio.sleep(0)
        replica.lifecycles[kernel_id].may_finish.set()
        if others:
            with pytest.raises(LimitReached):
                await task
        else:
            await task

    run(steps())


def test_a_kernel_that_has_started_before_its_place_was_known_ends_where_it_has_none(replica):
    replica.kit.in_force.now = replica.kit.rules(per_user=1)

    async def steps():
        await replica.adoption.begin()
        task, kernel_id = await starting(replica)
        replica.store.pods = {ID: pod()}
        replica.store.answer.clear()
        replica.cache.show_list(pod(kernel_id, uid="u2", annotations={}))
        replica.lifecycles[kernel_id].may_finish.set()
        await replica.until(lambda: replica.kernels.table[kernel_id].kernel.execution_state == "idle")
        assert not task.done()
        replica.store.answer.set()
        with pytest.raises(LimitReached):
            await task
        assert replica.lifecycles[kernel_id].ended
        assert replica.ids() == set()

    run(steps())


def test_a_kernel_that_is_deleted_before_its_place_was_known_leaves_nothing(replica):
    replica.kit.in_force.now = replica.kit.rules(per_user=1)

    async def steps():
        await replica.adoption.begin()
        task, kernel_id = await starting(replica)
        replica.store.answer.clear()
        replica.cache.show_list(pod(kernel_id, uid="u2", annotations={}))
        replica.lifecycles[kernel_id].may_finish.set()
        await replica.until(lambda: replica.kernels.table[kernel_id].kernel.execution_state == "idle")
        await replica.kernels.shutdown(kernel_id, ANONYMOUS)
        with pytest.raises(Gone):
            await task
        assert replica.lifecycles[kernel_id].ended
        replica.store.answer.set()
        await asyncio.sleep(0.01)

    run(steps())


def test_a_place_that_cant_be_asked_for_is_none(replica):
    replica.kit.in_force.now = replica.kit.rules(per_user=1)

    async def steps():
        await replica.adoption.begin()
        task, kernel_id = await starting(replica)
        replica.store.error = KubernetesUnavailable("away", kind="Pod")
        replica.cache.show_list(pod(kernel_id, uid="u2", annotations={}))
        with pytest.raises(KubernetesUnavailable):
            await task

    run(steps())


def test_a_kernel_that_is_being_ended_takes_nobodys_place(replica):
    replica.kit.in_force.now = replica.kit.rules(per_user=1)

    async def steps():
        await replica.adoption.begin()
        replica.cache.objects["home", "x"] = pod(deleting=True)
        task, kernel_id = await starting(replica)
        replica.lifecycles[kernel_id].may_finish.set()
        await task

    run(steps())


def test_what_a_kernel_put_into_its_own_namespace_takes_nobodys_place():
    def pod(name, namespace, kernel_id, username):
        metadata = {"name": name, "namespace": namespace, "uid": name, "labels": {labels.KERNEL_ID: kernel_id}}
        return pod_state({"metadata": {**metadata, "annotations": {labels.USERNAME_ANNOTATION: username}}})

    another = str(uuid.uuid4())
    shared = [pod("theirs", "shared", another, "Bob"), pod("third", "shared", "3", "Carol")]
    home = f"alice-{ID}"
    forged = [pod("forged", home, another, "Alice"), pod("more", home, "4", "Bob"), pod("claims", home, str(uuid.uuid4()), "Bob")]
    assert owners_of([pod("own", home, ID, "Alice"), *shared, *forged]) == {ID: "Alice", another: "Bob", "3": "Carol"}


# ---------------------------------------------------------------------------------- websockets of a gateway that starts


def test_a_websocket_waits_until_all_kernels_are_known_and_finds_its_own(replica):
    async def steps():
        replica.cache.show(pod())
        replica.cluster.syncing.clear()
        connecting = asyncio.create_task(replica.kernels.connected(ID, ANONYMOUS, waits=True))
        finding = asyncio.create_task(replica.adoption.begin())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not connecting.done()
        replica.cluster.syncing.set()
        assert (await connecting).kernel_id == ID
        await finding

    run(steps())


def test_a_websocket_to_a_kernel_that_doesnt_exist_is_refused_once_all_are_known(replica):
    async def steps():
        connecting = asyncio.create_task(replica.kernels.connected(ID, ANONYMOUS, waits=True))
        await asyncio.sleep(0)
        await replica.adoption.begin()
        with pytest.raises(KernelNotFound):
            await connecting

    run(steps())


def test_a_websocket_isnt_kept_waiting_for_ever(replica, monkeypatch):
    monkeypatch.setattr(registry, "_SYNC_SECONDS", 0.0)

    async def steps():
        with pytest.raises(ClusterNotSynced):
            await replica.kernels.connected(ID, ANONYMOUS, waits=True)

    run(steps())
