import asyncio
from types import SimpleNamespace

import pytest

from enterprise_gateway.errors import ClusterNotSynced
from enterprise_gateway.replicas.cluster_sync import ClusterSync


class Cluster:
    """A cluster that may be there, with pictures of pods and pullers that a test draws."""

    def __init__(self, *, may_exist=True):
        self.may_exist = may_exist
        self.pods = SimpleNamespace(synced=True, lost_seconds=0.0)
        self.pullers = SimpleNamespace(synced=True, lost_seconds=0.0)
        self.services = self


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
def sync(cluster):
    return ClusterSync(cluster=cluster, loss_grace=60)


def refused(check):
    """Return after how many seconds to try again, where a check refuses."""
    with pytest.raises(ClusterNotSynced) as caught:
        check()
    assert (caught.value.status, caught.value.reason) == (503, "Service Unavailable")
    return caught.value.retry_after


def test_without_any_cluster_every_kernel_is_known_from_the_beginning():
    sync = ClusterSync(cluster=Cluster(may_exist=False), loss_grace=0)
    sync.check()
    sync.check_images()


def test_until_somebody_looked_for_kernels_in_the_cluster_none_can_be_denied(sync):
    assert sync.pending
    assert refused(sync.check) > 0
    sync.begin()
    assert sync.pending
    assert refused(sync.check_images) > 0
    sync.finish()
    assert sync.done
    sync.check()
    sync.check_images()


@pytest.mark.parametrize("end", ["finish", "not_needed"])
def test_who_waits_for_all_kernels_to_be_known_goes_on_when_they_are_or_none_is_looked_for(sync, end):
    async def scenario():
        sync.begin()
        waiting = asyncio.create_task(sync.decided())
        for _ in range(5):
            await asyncio.sleep(0)
        before = waiting.done()
        getattr(sync, end)()
        await waiting
        return before

    assert asyncio.run(scenario()) is False


def test_where_a_kernelspec_for_pods_comes_later_their_kernels_are_waited_for(sync):
    async def scenario():
        sync.not_needed()
        await sync.decided()
        sync.begin()
        waiting = asyncio.create_task(sync.decided())
        for _ in range(5):
            await asyncio.sleep(0)
        before = waiting.done()
        sync.finish()
        await waiting
        return before

    assert asyncio.run(scenario()) is False


def test_where_no_kernelspec_needs_the_cluster_nothing_is_refused_until_one_does(sync):
    sync.not_needed()
    sync.check()
    sync.check_images()
    sync.begin()
    refused(sync.check)


def test_what_was_found_is_looked_for_no_more(sync):
    sync.finish()
    sync.begin()
    sync.not_needed()
    assert sync.done


def test_old_news_are_told_for_the_grace_and_no_longer(sync, cluster):
    sync.finish()
    cluster.pods.lost_seconds = 60.0
    sync.check()
    cluster.pods.lost_seconds = 60.1
    assert refused(sync.check) > 0
    cluster.pods.lost_seconds = 0.0
    sync.check()


@pytest.mark.parametrize("change", [{"synced": False}, {"lost_seconds": 61.0}], ids=["not listed yet", "lost"])
def test_without_news_of_the_pullers_the_images_arent_known_and_the_kernels_are(sync, cluster, change):
    sync.finish()
    vars(cluster.pullers).update(change)
    sync.check()
    assert refused(sync.check_images) > 0
