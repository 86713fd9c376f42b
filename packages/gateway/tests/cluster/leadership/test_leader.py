import asyncio

import pytest

from enterprise_gateway.cluster.leadership.leader import Leadership


class Lease:
    """Stands for a lease; a test decides whether it is held or refused."""

    def __init__(self):
        self.held = self.refused = False
        self.taken = asyncio.Event()

    async def run(self):
        await asyncio.Event().wait()

    async def wait_held(self):
        while not self.held:
            await self.taken.wait()

    async def release(self):
        self.held = False


def test_the_only_gateway_acts_on_everything():
    only = Leadership(lease=None)
    assert only.leads
    assert only.may_act(started_here=False)
    asyncio.run(only.wait_to_act(started_here=False))


@pytest.mark.parametrize("started_here", [True, False])
def test_who_holds_the_lease_acts_on_every_kernel_and_nobody_else_does(started_here):
    lease = Lease()
    replica = Leadership(lease=lease)
    assert not replica.may_act(started_here=started_here)
    lease.held = True
    assert replica.may_act(started_here=started_here)


def test_without_the_right_to_leases_a_replica_acts_on_what_it_started_itself():
    lease = Lease()
    lease.refused = True
    replica = Leadership(lease=lease)
    assert not replica.leads
    assert replica.may_act(started_here=True)
    assert not replica.may_act(started_here=False)


def test_who_waits_to_act_does_as_soon_as_the_lease_is_taken():
    async def scenario():
        lease = Lease()
        waiting = asyncio.create_task(Leadership(lease=lease).wait_to_act(started_here=False))
        await asyncio.sleep(0)
        assert not waiting.done()
        lease.held = True
        lease.taken.set()
        async with asyncio.timeout(0.5):
            await waiting

    asyncio.run(scenario())


def test_a_replica_that_steps_down_acts_no_more():
    async def scenario():
        lease = Lease()
        replica = Leadership(lease=lease)
        replica.start()
        lease.held = True
        await replica.stop()
        assert not replica.leads
        await replica.stop()

    asyncio.run(scenario())
