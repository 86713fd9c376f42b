import asyncio

import pytest

from enterprise_gateway.cluster.leadership.lease import Lease


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def replica(cluster, clock, identity):
    return Lease(client=cluster.client, namespace="gateway", name="duties", identity=identity, duration=15, clock=clock)


def test_one_of_two_replicas_holds_it(cluster_type, clock):
    async def scenario():
        async with cluster_type() as cluster:
            one, other = replica(cluster, clock, "one"), replica(cluster, clock, "other")
            assert await one.claim()
            assert not await other.claim()
            assert one.held
            assert not other.held

    asyncio.run(scenario())


def test_a_silent_holder_gives_up_before_another_may_take_over(cluster_type, clock):
    async def scenario():
        async with cluster_type() as cluster:
            one, other = replica(cluster, clock, "one"), replica(cluster, clock, "other")
            await one.claim()
            await other.claim()
            clock.now += 10
            assert not one.held
            assert not await other.claim()
            clock.now += 5
            assert await other.claim()
            assert not await one.claim()

    asyncio.run(scenario())


def test_a_holder_that_renews_keeps_it(cluster_type, clock):
    async def scenario():
        async with cluster_type() as cluster:
            one, other = replica(cluster, clock, "one"), replica(cluster, clock, "other")
            for _ in range(10):
                assert await one.claim()
                assert not await other.claim()
                clock.now += 5

    asyncio.run(scenario())


def test_a_released_lease_is_free_at_once(cluster_type, clock):
    async def scenario():
        async with cluster_type() as cluster:
            one, other = replica(cluster, clock, "one"), replica(cluster, clock, "other")
            await one.claim()
            await one.release()
            assert not one.held
            assert await other.claim()

    asyncio.run(scenario())


def test_two_that_claim_at_the_same_moment_dont_both_hold_it(cluster_type, clock):
    async def scenario():
        async with cluster_type() as cluster:
            replicas = [replica(cluster, clock, f"r{number}") for number in range(5)]
            assert sum(await asyncio.gather(*(one.claim() for one in replicas))) == 1

    asyncio.run(scenario())


def test_a_holder_without_a_server_holds_it_only_as_long_as_it_was_given(cluster_type, fault_type, clock):
    async def scenario():
        async with cluster_type() as cluster:
            passed = []

            async def sleep(seconds):
                clock.now += seconds
                passed.append(one.held)
                if len(passed) == 6:
                    raise asyncio.CancelledError
                await asyncio.sleep(0)

            one = Lease(
                client=cluster.client, namespace="gateway", name="duties", identity="one", duration=15, clock=clock, sleep=sleep
            )
            cluster.api.fault = lambda count, _request: fault_type(status=422) if count > 2 else None
            with pytest.raises(asyncio.CancelledError):
                await one.run()
            assert passed == [True, True, True, False, False, False]

    asyncio.run(scenario())


def test_a_renewal_is_one_call(cluster_type, clock):
    async def scenario():
        async with cluster_type() as cluster:
            one = replica(cluster, clock, "one")
            await one.claim()
            cluster.api.requests.clear()
            assert await one.claim()
            assert [method for method, _ in cluster.api.requests] == ["PUT"]

    asyncio.run(scenario())


def test_a_lease_that_somebody_deleted_is_claimed_again(cluster_type, clock):
    async def scenario():
        async with cluster_type() as cluster:
            one = replica(cluster, clock, "one")
            await one.claim()
            await cluster.api.remove("leases", "gateway", "duties")
            assert not await one.claim()
            assert await one.claim()

    asyncio.run(scenario())


def test_a_missing_right_is_said_once_and_asked_for_rarely(cluster_type, fault_type, clock, caplog):
    async def scenario():
        async with cluster_type() as cluster:
            pauses = []

            async def sleep(seconds):
                pauses.append(seconds)
                if len(pauses) == 3:
                    raise asyncio.CancelledError

            cluster.api.fault = lambda _count, _request: fault_type(status=403)
            one = Lease(client=cluster.client, namespace="gateway", name="duties", identity="one", clock=clock, sleep=sleep)
            with pytest.raises(asyncio.CancelledError):
                await one.run()
            assert one.refused
            assert not one.held
            assert pauses == [60, 60, 60]

    asyncio.run(scenario())
    assert len([record for record in caplog.records if "Without the right to leases" in record.message]) == 1


def test_nothing_that_happens_to_a_renewal_ends_the_next_ones(cluster_type, clock, monkeypatch, caplog):
    async def scenario():
        async with cluster_type() as cluster:
            pauses = []

            async def sleep(seconds):
                pauses.append(seconds)
                if len(pauses) == 2:
                    monkeypatch.undo()
                if len(pauses) == 3:
                    raise asyncio.CancelledError
                await asyncio.sleep(0)

            async def fails(_deadline):
                raise ValueError("nobody foresaw it")

            one = Lease(
                client=cluster.client, namespace="gateway", name="duties", identity="one", duration=15, clock=clock, sleep=sleep
            )
            monkeypatch.setattr(one, "_wanted", fails)
            with pytest.raises(asyncio.CancelledError):
                await one.run()
            assert one.held

    asyncio.run(scenario())
    assert [record.cause for record in caplog.records if record.levelname == "WARNING"] == ["ValueError('nobody foresaw it')"]
