import asyncio

import pytest

from enterprise_gateway.cluster.deadline import Deadline
from enterprise_gateway.cluster.informer import Informer
from enterprise_gateway.cluster.pictures import JoinedPictures
from enterprise_gateway.cluster.pods import pod_state
from enterprise_gateway_common import labels


def joined(cluster, *namespaces):
    selector = f"{labels.APP}={labels.APP_VALUE}"
    return JoinedPictures(
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
    """Run a scenario with a picture of two namespaces."""

    def run(scenario, *namespaces):
        async def with_cluster():
            async with cluster_type() as cluster:
                picture = joined(cluster, *(namespaces or ("one", "other")))
                watching = asyncio.create_task(picture.run())
                try:
                    async with asyncio.timeout(10):
                        await scenario(cluster, picture)
                finally:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)

        asyncio.run(with_cluster())

    return run


def test_the_picture_is_as_old_as_its_oldest_part(following):
    async def scenario(_cluster, picture):
        await picture.wait_synced(Deadline(5))
        assert (picture.synced, picture.lost_seconds) == (True, 0.0)
        one, other = picture._informers
        one.trouble, one._last_contact = "away", one._clock() - 100
        assert picture.lost_seconds >= 100
        other._synced.clear()
        assert not picture.synced

    following(scenario)


def test_the_pods_of_all_namespaces_are_one_picture_and_those_of_others_are_not_in_it(following, pod):
    async def scenario(cluster, picture):
        await cluster.api.put("pods", pod("a", namespace="one"))
        await cluster.api.put("pods", pod("a", namespace="third"))
        await picture.wait_synced(Deadline(5))
        heard = []
        unsubscribe = picture.subscribe(lambda key, _: heard.append(key))
        await cluster.api.put("pods", pod("b", namespace="other"), "ADDED")
        while ("other", "b") not in picture.objects:
            await asyncio.sleep(0.001)
        assert set(picture.objects) == {("one", "a"), ("other", "b")}
        # A change between a list and the watch that follows it may be told by both.
        assert set(heard) == {("other", "b")}
        unsubscribe()
        assert picture.trouble is None
        asked = [path for method, path in cluster.api.requests if "third" in path or path == "/api/v1/pods"]
        assert asked == []

    following(scenario)


def test_what_happens_in_two_namespaces_has_no_order(following):
    async def scenario(_cluster, picture):
        await picture.wait_synced(Deadline(5))
        assert not picture.in_order

    following(scenario)


def test_what_happens_in_one_namespace_has(following):
    async def scenario(_cluster, picture):
        await picture.wait_synced(Deadline(5))
        assert picture.in_order

    following(scenario, "one")
