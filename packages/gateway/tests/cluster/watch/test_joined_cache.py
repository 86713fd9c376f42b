import asyncio

import pytest

from enterprise_gateway.cluster.pods.state import pod_state
from enterprise_gateway.cluster.watch.informer import Informer
from enterprise_gateway.cluster.watch.joined_cache import JoinedCache
from enterprise_gateway.deadline import Deadline
from enterprise_gateway_common import labels


def joined(cluster, *namespaces):
    selector = f"{labels.APP}={labels.APP_VALUE}"
    return JoinedCache(
        [
            Informer(
                client=cluster.client,
                kind="Pod",
                namespace=namespace,
                label_selector=selector,
                convert=pod_state,
                sleep=cluster.pause,
            )
            for namespace in namespaces
        ]
    )


@pytest.fixture
def following(cluster_type):
    """Run a scenario with a cache of two namespaces."""

    def run(scenario, *namespaces):
        async def with_cluster():
            async with cluster_type() as cluster:
                cache = joined(cluster, *(namespaces or ("one", "other")))
                watching = asyncio.create_task(cache.run())
                try:
                    async with asyncio.timeout(10):
                        await scenario(cluster, cache)
                finally:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)

        asyncio.run(with_cluster())

    return run


def test_the_picture_is_as_old_as_its_oldest_part(following):
    async def scenario(_cluster, cache):
        await cache.wait_synced(Deadline(5))
        assert (cache.synced, cache.lost_seconds) == (True, 0.0)
        one, other = cache._informers
        one.trouble, one._last_contact = "away", one._clock() - 100
        assert cache.lost_seconds >= 100
        other._synced.clear()
        assert not cache.synced

    following(scenario)


def test_the_pods_of_all_namespaces_are_one_picture_and_those_of_others_are_not_in_it(following, pod):
    async def scenario(cluster, cache):
        await cluster.api.put("pods", pod("a", namespace="one"))
        await cluster.api.put("pods", pod("a", namespace="third"))
        await cache.wait_synced(Deadline(5))
        heard = []
        unsubscribe = cache.subscribe(lambda key, _: heard.append(key))
        await cluster.api.put("pods", pod("b", namespace="other"), "ADDED")
        while ("other", "b") not in cache.objects:
            await asyncio.sleep(0.001)
        assert set(cache.objects) == {("one", "a"), ("other", "b")}
        # A change between a list and the watch that follows it may be told by both.
        assert set(heard) == {("other", "b")}
        unsubscribe()
        assert cache.trouble is None
        asked = [path for method, path in cluster.api.requests if "third" in path or path == "/api/v1/pods"]
        assert asked == []

    following(scenario)


def test_what_happens_in_two_namespaces_has_no_order(following):
    async def scenario(_cluster, cache):
        await cache.wait_synced(Deadline(5))
        assert not cache.in_order

    following(scenario)


def test_what_happens_in_one_namespace_has(following):
    async def scenario(_cluster, cache):
        await cache.wait_synced(Deadline(5))
        assert cache.in_order

    following(scenario, "one")
