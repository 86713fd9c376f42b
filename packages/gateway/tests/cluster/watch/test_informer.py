import asyncio
from contextlib import suppress

import pytest

from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import KubernetesUnavailable


async def until(condition):
    """Return when a condition holds; the test's own timeout is the limit."""
    while not condition():
        await asyncio.sleep(0.005)


class Following:
    def __init__(self, cluster):
        self.informer = cluster.informer()
        self.changes = []
        self.informer.subscribe(lambda key, state: self.changes.append((key[1], state.phase if state else None)))

    async def __aenter__(self):
        self.task = asyncio.create_task(self.informer.run())
        return self.informer, self.changes

    async def __aexit__(self, *_exception):
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


def names(informer):
    return sorted(name for _, name in informer.objects)


def test_the_picture_follows_every_change_and_looking_at_it_costs_no_call(cluster_type, pod):
    async def scenario():
        async with cluster_type() as cluster:
            await cluster.api.put("pods", pod("a", phase="Pending"))
            async with Following(cluster) as (informer, changes):
                await informer.wait_synced(Deadline(5))
                await cluster.api.put("pods", pod("b", phase="Pending"), "ADDED")
                await cluster.api.put("pods", pod("a", phase="Running"))
                await cluster.api.remove("pods", "home", "b")
                await until(lambda: len(changes) == 4)
                assert changes == [("a", "Pending"), ("b", "Pending"), ("a", "Running"), ("b", None)]
                assert names(informer) == ["a"]
                assert len(cluster.api.requests) == 2

    asyncio.run(scenario())


def test_a_watch_that_ends_is_resumed_without_a_new_list(cluster_type, pod):
    async def scenario():
        async with cluster_type() as cluster:
            async with Following(cluster) as (informer, _):
                await informer.wait_synced(Deadline(5))
                await cluster.api.put("pods", pod("a"), "ADDED")
                await until(lambda: names(informer) == ["a"])
                await cluster.api.drop_watches()
                await cluster.api.put("pods", pod("b"), "ADDED")
                await until(lambda: names(informer) == ["a", "b"])
            lists = [request for request in cluster.api.requests if request == ("GET", "/api/v1/pods")]
            assert len(lists) == 3

    asyncio.run(scenario())


def test_a_watch_that_is_too_old_is_begun_anew_and_what_was_missed_is_told(cluster_type, pod):
    async def scenario():
        async with cluster_type() as cluster:
            await cluster.api.put("pods", pod("gone"))
            await cluster.api.put("pods", pod("kept"))
            async with Following(cluster) as (informer, changes):
                await informer.wait_synced(Deadline(5))
                await until(lambda: len(cluster.api.requests) == 2)
                cluster.api.objects.pop(("pods", "home", "gone"))
                cluster.api.forget_history()
                await cluster.api.drop_watches()
                await until(lambda: names(informer) == ["kept"])
                assert ("gone", None) in changes
                assert [change for change in changes if change[0] == "kept"] == [("kept", "")]

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [0, 403, 500, 503])
def test_it_never_gives_up_and_asks_ever_more_rarely(cluster_type, fault_type, pod, status):
    async def scenario():
        async with cluster_type() as cluster:
            await cluster.api.put("pods", pod("a"))
            cluster.api.fault = lambda count, _request: fault_type(status=status) if count <= 60 else None
            async with Following(cluster) as (informer, _):
                await until(lambda: names(informer) == ["a"] or len(cluster.pauses) > 400)
                assert names(informer) == ["a"]
                await until(lambda: informer.trouble is None)
            assert max(cluster.pauses) <= 21.0

    # A list repeats itself for its own thirty seconds, which here take no time.
    asyncio.run(scenario())


def test_it_waits_as_long_as_the_server_asks(cluster_type, fault_type):
    async def scenario():
        async with cluster_type() as cluster:
            cluster.api.fault = lambda count, _request: (
                fault_type(status=429, headers={"Retry-After": "7"}) if count == 1 else None
            )
            async with Following(cluster) as (informer, _):
                await informer.wait_synced(Deadline(5))
            assert cluster.pauses[0] == 7.0

    asyncio.run(scenario())


def test_while_there_is_no_server_the_picture_stays_and_says_why_it_is_old(cluster_type, fault_type, pod):
    async def scenario():
        async with cluster_type() as cluster:
            await cluster.api.put("pods", pod("a"))
            async with Following(cluster) as (informer, _):
                await informer.wait_synced(Deadline(5))
                await until(lambda: len(cluster.api.requests) == 2)
                cluster.api.fault = lambda _count, _request: fault_type(status=503)
                await cluster.api.drop_watches()
                await until(lambda: informer.trouble is not None)
                assert names(informer) == ["a"]

    asyncio.run(scenario())


def test_how_long_news_have_been_missing_counts_from_the_last_and_ends_when_the_server_takes_on_a_watch(
    cluster_type, fault_type, pod
):
    async def scenario():
        async with cluster_type() as cluster:
            following = Following(cluster)
            now = [1000.0]
            following.informer._clock = lambda: now[0]
            async with following as (informer, _):
                assert not informer.synced
                await informer.wait_synced(Deadline(5))
                await cluster.api.put("pods", pod("a"), "ADDED")
                await until(lambda: names(informer) == ["a"])
                now[0] += 50
                # An old watch that runs is no old news.
                assert (informer.synced, informer.lost_seconds) == (True, 0.0)
                cluster.api.fault = lambda _count, _request: fault_type(status=503)
                await cluster.api.drop_watches()
                await until(lambda: informer.trouble is not None)
                now[0] += 20
                asked = len(cluster.api.requests)
                await until(lambda: len(cluster.api.requests) >= asked + 2)
                # Trying again is no news either.
                assert informer.lost_seconds == 70.0
                cluster.api.fault = lambda _count, _request: None
                await until(lambda: informer.lost_seconds == 0.0)

    asyncio.run(scenario())


def test_a_first_picture_that_doesnt_come_is_an_error_with_its_cause(cluster_type, fault_type):
    async def scenario():
        async with cluster_type() as cluster:
            cluster.api.fault = lambda _count, _request: fault_type(status=403)
            async with Following(cluster) as (informer, _):
                await until(lambda: informer.trouble is not None)
                with pytest.raises(KubernetesUnavailable, match="injected 403"):
                    await informer.wait_synced(Deadline(0))

    asyncio.run(scenario())


def test_a_handler_that_fails_doesnt_stop_the_others(cluster_type, pod, caplog):
    async def scenario():
        async with cluster_type() as cluster:
            following = Following(cluster)

            def broken(_key, _state):
                raise RuntimeError("broken")

            following.informer._handlers.insert(0, broken)
            async with following as (_, changes):
                await cluster.api.put("pods", pod("a"), "ADDED")
                await until(lambda: changes)
        assert "A handler of changes failed" in caplog.text

    asyncio.run(scenario())


def test_credentials_that_the_server_doesnt_know_any_more_are_read_anew_by_lists_and_watches(cluster_type, fault_type, pod):
    async def scenario():
        async with cluster_type() as cluster:
            await cluster.api.put("pods", pod("a"))
            cluster.api.fault = lambda count, _request: fault_type(status=401) if count % 2 else None
            async with Following(cluster) as (informer, _):
                await informer.wait_synced(Deadline(5))
                await until(lambda: len(cluster.api.requests) == 4)
                assert cluster.pauses == []
            assert cluster.renewals == 2

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "line", [b"<html>", b"{}", b"[]", b'{"type": "ADDED"}', b'{"type": "ADDED", "object": {}}', b'{"type": "ERROR", "object": 1}']
)
def test_a_watch_that_answers_nonsense_is_begun_again(cluster_type, pod, line):
    async def scenario():
        async with cluster_type() as cluster:
            await cluster.api.put("pods", pod("a"))
            cluster.api.nonsense = line
            async with Following(cluster) as (informer, _):
                await until(lambda: informer.trouble is not None)
                assert "no change of an object" in informer.trouble
                cluster.api.nonsense = b""
                await cluster.api.put("pods", pod("b"), "ADDED")
                await until(lambda: names(informer) == ["a", "b"])

    asyncio.run(scenario())


def test_an_object_that_cant_be_understood_doesnt_end_the_picture(cluster_type, pod, caplog):
    async def scenario():
        async with cluster_type() as cluster:
            following = Following(cluster)
            convert, following.informer._convert = following.informer._convert, lambda document: document["no such key"]
            async with following as (informer, _):
                await cluster.api.put("pods", pod("a"), "ADDED")
                await until(lambda: informer.trouble is not None)
                informer._convert = convert
                await until(lambda: names(informer) == ["a"])
        assert "Watch failed" in caplog.text

    asyncio.run(scenario())
