"""With a cache of the cluster that a test draws, and a clock that it moves."""

import asyncio

import pytest

from enterprise_gateway.cluster.pods.diagnosis import Graces
from enterprise_gateway.cluster.pods.state import pod_state
from enterprise_gateway.cluster.watch.pod_watch import PodWatch
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import LaunchFailed

KEY = ("home", "kernel")


class Cache:
    """Stands for the informer."""

    trouble = None

    def __init__(self, *pods):
        self.objects = {pod.key: pod for pod in pods}

    def subscribe(self, handler):
        self.handler = handler
        return lambda: None

    def show(self, pod):
        self.objects[pod.key] = pod
        self.handler(pod.key, pod)

    def remove(self, pod):
        del self.objects[pod.key]
        self.handler(pod.key, None)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def state(pod):
    def make(uid="u1", created="2026-01-01T00:00:10Z", **status):
        return pod_state(pod(metadata={"uid": uid, "creationTimestamp": created}, **{"phase": "Pending", **status}))

    return make


def no_node(count):
    words = f"0/{count} nodes are available"
    return {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}]}


def waiting(reason, message):
    return {"containerStatuses": [{"name": "kernel", "state": {"waiting": {"reason": reason, "message": message}}}]}


PULLING = (waiting("ErrImagePull", "i/o timeout"), waiting("ImagePullBackOff", "Back-off pulling image"))


def started(cache, clock):
    watch = PodWatch(informer=cache, key=KEY, uid="u1", clock=clock)
    graces = Graces(unschedulable=20.0, image_pull=15.0)
    return asyncio.create_task(watch.running(client=None, graces=graces, deadline=Deadline(1000, clock=clock)))


async def turns():
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("troubles", "grace"), [(PULLING, 15), ((no_node(3), no_node(4)), 20)], ids=["a pull that fails", "a full cluster"]
)
def test_a_grace_is_over_in_time_however_the_words_of_one_trouble_change(state, troubles, grace):
    async def scenario():
        clock, cache = Clock(), Cache()
        start = started(cache, clock)
        for second in range(grace):
            await turns()
            assert not start.done()
            cache.show(state(**troubles[second % 2]))
            await turns()
            clock.now += 1
        cache.show(state(**troubles[grace % 2]))
        with pytest.raises(LaunchFailed):
            await start

    asyncio.run(scenario())


def test_another_kind_of_trouble_has_its_own_grace(state):
    async def scenario():
        clock, cache = Clock(), Cache()
        start = started(cache, clock)
        for trouble in (no_node(3), PULLING[0]):
            await turns()
            cache.show(state(**trouble))
            await turns()
            clock.now += 14
        cache.show(state(**PULLING[1]))
        await turns()
        assert not start.done()
        clock.now += 1
        cache.show(state(**PULLING[0]))
        with pytest.raises(LaunchFailed, match="ErrImagePull"):
            await start

    asyncio.run(scenario())


def test_a_pod_that_the_api_server_showed_isnt_gone_because_the_informer_still_tells_of_an_older_one(state):
    old, new = state("u1"), state("u2", "2026-01-01T00:00:11Z")
    cache = Cache(old)
    watch = PodWatch(informer=cache, key=KEY, uid="u2", seen=new)
    assert (watch.is_gone, watch.state) == (False, new)
    cache.show(state("u1", phase="Running"))
    cache.remove(old)
    assert (watch.is_gone, watch.state) == (False, new)
    cache.show(new)
    cache.remove(new)
    assert watch.is_gone


def test_a_pod_is_gone_where_the_informer_shows_a_later_one_of_its_name(state):
    cache = Cache(state("u2", "2026-01-01T00:00:11Z"))
    assert PodWatch(informer=cache, key=KEY, uid="u1", seen=state("u1")).is_gone


def test_a_pod_that_the_watch_shows_isnt_gone(state):
    cache = Cache(state("u2", "2026-01-01T00:00:11Z"))
    watch = PodWatch(informer=cache, key=KEY, uid="u1", seen=state("u1"))
    cache.show(state("u1", phase="Running"))
    assert not watch.is_gone
