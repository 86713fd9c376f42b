import asyncio
import json

import pytest

from enterprise_gateway.errors import Conflict, Gone, KernelNotFound, Unavailable
from enterprise_gateway.identity import ANONYMOUS, Identity

ID = "01234567-89ab-4cde-8f01-23456789abcd"


def test_a_kernel_that_is_deleted_while_it_starts_is_gone_for_its_client(kit):
    async def run():
        task, lifecycle = await kit.under_way()
        await kit.kernels.shutdown(lifecycle.kernel.kernel_id, ANONYMOUS)
        with pytest.raises(Gone):
            await task
        return lifecycle.ended

    assert asyncio.run(run())
    assert kit.kernels.all() == []
    assert len(kit.forgotten) == 1


def test_kernels_of_others_do_not_exist_for_a_user(kit):
    alice, bob = Identity("alice"), Identity("bob")

    async def run():
        kernel, _ = await kit.start(identity=alice)
        assert kit.kernels.all(bob) == []
        for use in (kit.kernels.shutdown, kit.kernels.interrupt, kit.kernels.restart):
            with pytest.raises(KernelNotFound):
                await use(kernel.kernel_id, bob)
        with pytest.raises(KernelNotFound):
            await kit.kernels.connected(kernel.kernel_id, bob, waits=True)
        return kit.kernels.get(kernel.kernel_id, alice).user

    assert asyncio.run(run()) == "alice"


def test_a_gateway_that_stops_starts_nothing_and_ends_what_starts(kit):
    async def run():
        task, lifecycle = await kit.under_way()
        await kit.kernels.shutdown_all()
        with pytest.raises(Unavailable):
            await task
        with pytest.raises(Unavailable):
            await kit.start()
        return lifecycle.ended

    assert asyncio.run(run())


def test_all_kernels_end_with_the_gateway_although_one_cannot(kit):
    async def run():
        for _ in range(3):
            await kit.start()

        async def broken(*, reason):
            raise RuntimeError(reason)

        stubborn = next(iter(kit.lifecycles.values()))
        stubborn.shutdown = broken
        await kit.kernels.shutdown_all()
        return [lifecycle.ended for lifecycle in kit.lifecycles.values()]

    assert asyncio.run(run()) == [False, True, True]
    assert len(kit.kernels) == 0


def test_idle_kernels_are_culled_and_their_clients_told_why(kit):
    kit.in_force.now = kit.rules(idle_timeout=60)
    told = []

    async def run():
        old, _ = await kit.start()
        old.link.observe(lambda message: told.append(json.loads(message.parts[3])))
        kit.clock.now += 61
        young, _ = await kit.start()
        await kit.upkeep().cull()
        return [kernel is young for kernel in kit.kernels.all()]

    assert asyncio.run(run()) == [True]
    assert told == [
        {"name": "stderr", "text": "The kernel was shut down because it had not been used for 60 seconds.\n"},
        {"execution_state": "dead"},
    ]
    assert kit.metrics.culled == ["idle"]


def test_a_kernel_that_starts_cannot_be_restarted(kit):
    async def run():
        task, lifecycle = await kit.under_way()
        with pytest.raises(Conflict):
            await kit.kernels.restart(lifecycle.kernel.kernel_id, ANONYMOUS)
        lifecycle.may_finish.set()
        await task

    asyncio.run(run())
