import asyncio
import json

import pytest

from enterprise_gateway.errors import Conflict, Gone, KernelNotFound, LaunchFailed, LimitReached, Unavailable
from enterprise_gateway.identity import ANONYMOUS, Identity
from enterprise_gateway.kernels import table
from enterprise_gateway.kernels.requests import StartRequest

ID = "01234567-89ab-4cde-8f01-23456789abcd"


def request(name=None, **env):
    return StartRequest(kernel_name=name, env=env)


def start(kit, name=None, identity=ANONYMOUS, **env):
    return kit.kernels.start(request(name, **env), identity)


async def under_way(kit, **env):
    """Return a start that goes on until its lifecycle is told to finish, and that lifecycle."""
    kit.finish_at_once = False
    before = set(kit.lifecycles)
    task = asyncio.create_task(start(kit, **env))
    while not (new := set(kit.lifecycles) - before):
        await asyncio.sleep(0)
    lifecycle = kit.lifecycles[new.pop()]
    await lifecycle.started.wait()
    return task, lifecycle


def test_a_kernel_is_listed_as_starting_while_it_starts(kit):
    async def run():
        task, lifecycle = await under_way(kit)
        (model,) = (kernel.model() for kernel in kit.kernels.all())
        lifecycle.may_finish.set()
        kernel, new = await task
        return model["execution_state"], kernel.model()["execution_state"], new

    assert asyncio.run(run()) == ("starting", "idle", True)


def test_a_kernel_that_is_deleted_while_it_starts_is_gone_for_its_client(kit):
    async def run():
        task, lifecycle = await under_way(kit)
        await kit.kernels.shutdown(lifecycle.kernel.kernel_id, ANONYMOUS)
        with pytest.raises(Gone):
            await task
        return lifecycle.ended

    assert asyncio.run(run())
    assert kit.kernels.all() == []
    assert len(kit.forgotten) == 1


def test_a_failed_start_leaves_nothing_and_is_counted(kit):
    async def run():
        task, lifecycle = await under_way(kit)
        lifecycle.failure = "no image"
        lifecycle.may_finish.set()
        with pytest.raises(LaunchFailed, match="no image"):
            await task
        with pytest.raises(LaunchFailed, match="no image"):
            await lifecycle.kernel.wait_until_ready()

    asyncio.run(run())
    assert kit.kernels.all() == []
    assert kit.metrics.launches == [("python3", "LaunchFailed")]


def test_a_start_whose_client_goes_away_ends(kit):
    async def run():
        task, lifecycle = await under_way(kit)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while not lifecycle.ended:
            await asyncio.sleep(0)

    asyncio.run(run())
    assert kit.kernels.all() == []


def test_a_start_with_a_chosen_id_goes_on_without_its_client_who_can_ask_again(kit):
    async def run():
        task, lifecycle = await under_way(kit, KERNEL_ID=ID)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        again = asyncio.create_task(start(kit, KERNEL_ID=ID))
        lifecycle.may_finish.set()
        return await again

    kernel, new = asyncio.run(run())
    assert (kernel.kernel_id, new) == (ID, False)


def test_a_repeated_request_with_the_same_id_gives_the_same_kernel(kit):
    async def run():
        first, _ = await start(kit, KERNEL_ID=ID, KERNEL_USERNAME="alice")
        second, new = await start(kit, KERNEL_ID=ID.upper(), KERNEL_USERNAME="alice")
        return first is second, new

    assert asyncio.run(run()) == (True, False)


def test_the_id_of_another_users_kernel_is_refused_and_tells_nothing_of_it(kit):
    async def run():
        await start(kit, KERNEL_ID=ID, KERNEL_USERNAME="alice")
        with pytest.raises(Conflict) as caught:
            await start(kit, KERNEL_ID=ID, KERNEL_USERNAME="bob")
        return caught.value.message

    assert asyncio.run(run()) == "KERNEL_ID is in use."


def test_the_id_of_a_kernel_of_another_kernelspec_is_refused(kit):
    async def run():
        await start(kit, KERNEL_ID=ID)
        with pytest.raises(Conflict, match="kernelspec 'python3'"):
            await start(kit, "other", KERNEL_ID=ID)

    asyncio.run(run())


def test_kernels_of_others_do_not_exist_for_a_user(kit):
    alice, bob = Identity("alice"), Identity("bob")

    async def run():
        kernel, _ = await start(kit, identity=alice)
        assert kit.kernels.all(bob) == []
        for use in (kit.kernels.shutdown, kit.kernels.interrupt, kit.kernels.restart):
            with pytest.raises(KernelNotFound):
                await use(kernel.kernel_id, bob)
        with pytest.raises(KernelNotFound):
            await kit.kernels.connected(kernel.kernel_id, bob)
        return kit.kernels.get(kernel.kernel_id, alice).user

    assert asyncio.run(run()) == "alice"


def test_kernels_that_start_count_for_the_limits(kit):
    kit.in_force.now = kit.rules(total=1)

    async def run():
        task, lifecycle = await under_way(kit)
        with pytest.raises(LimitReached):
            await start(kit)
        lifecycle.may_finish.set()
        await task

    asyncio.run(run())


def test_a_place_is_free_again_after_a_failed_start(kit):
    kit.in_force.now = kit.rules(per_user=1)

    async def run():
        task, lifecycle = await under_way(kit, KERNEL_USERNAME="alice")
        lifecycle.failure = "x"
        lifecycle.may_finish.set()
        with pytest.raises(LaunchFailed):
            await task
        kit.finish_at_once = True
        await start(kit, KERNEL_USERNAME="alice")

    asyncio.run(run())
    assert len(kit.kernels) == 1


def test_starts_under_way_at_once_never_see_each_others_environment_or_user(kit):
    async def run():
        named = [start(kit, KERNEL_USERNAME=f"user{number}", KERNEL_SECRET=f"of{number}") for number in range(20)]
        await asyncio.gather(*named, *(start(kit) for _ in range(20)))

    asyncio.run(run())
    for lifecycle in kit.lifecycles.values():
        environment, user = lifecycle.arguments["env"], lifecycle.kernel.user
        assert environment["KERNEL_USERNAME"] == user
        assert environment["KERNEL_ID"] == lifecycle.kernel.kernel_id
        assert environment.get("KERNEL_SECRET") == (None if user == "nobody" else user.replace("user", "of"))
        assert "EG_AUTH_TOKEN" not in environment


def test_a_gateway_that_stops_starts_nothing_and_ends_what_starts(kit):
    async def run():
        task, lifecycle = await under_way(kit)
        await kit.kernels.shutdown_all()
        with pytest.raises(Unavailable):
            await task
        with pytest.raises(Unavailable):
            await start(kit)
        return lifecycle.ended

    assert asyncio.run(run())


def test_all_kernels_end_with_the_gateway_although_one_cannot(kit):
    async def run():
        for _ in range(3):
            await start(kit)

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
        old, _ = await start(kit)
        old.link.observe(lambda message: told.append(json.loads(message.parts[3])))
        kit.clock.now += 61
        young, _ = await start(kit)
        await kit.upkeep().cull()
        return [kernel is young for kernel in kit.kernels.all()]

    assert asyncio.run(run()) == [True]
    assert told == [
        {"name": "stderr", "text": "The kernel was shut down because it had not been used for 60 seconds.\n"},
        {"execution_state": "dead"},
    ]
    assert kit.metrics.culled == 1


def test_a_kernel_that_starts_cannot_be_restarted(kit):
    async def run():
        task, lifecycle = await under_way(kit)
        with pytest.raises(Conflict):
            await kit.kernels.restart(lifecycle.kernel.kernel_id, ANONYMOUS)
        lifecycle.may_finish.set()
        await task

    asyncio.run(run())


def test_a_dead_kernel_takes_no_place_and_its_id_is_free_for_a_new_one(kit):
    kit.in_force.now = kit.rules(total=1)

    async def run():
        first, _ = await start(kit, KERNEL_ID=ID)
        first.dead("It died.")
        other, _ = await start(kit)
        await kit.kernels.shutdown(other.kernel_id, ANONYMOUS)
        again, new = await start(kit, KERNEL_ID=ID)
        return first is again, new, again.model()["execution_state"]

    assert asyncio.run(run()) == (False, True, "idle")


def test_two_who_ask_at_once_for_a_dead_kernels_id_get_the_same_new_one(kit):
    async def run():
        dead, _ = await start(kit, KERNEL_ID=ID)
        dead.dead("It died.")
        (one, first), (other, second) = await asyncio.gather(start(kit, KERNEL_ID=ID), start(kit, KERNEL_ID=ID))
        assert one is other is kit.kernels.get(ID, ANONYMOUS) is not dead
        return sorted((first, second))

    assert asyncio.run(run()) == [False, True]


def test_a_dead_kernel_is_forgotten_once_its_clients_could_see_why(kit, monkeypatch):
    monkeypatch.setattr(table, "_DEAD_SECONDS", 0.05)

    async def run():
        kernel, _ = await start(kit)
        kernel.dead("It died.")
        kit.table.ended(kernel, forget=False)
        seen = [kernel.reason for kernel in kit.kernels.all()]
        while kit.kernels.all():
            await asyncio.sleep(0.01)
        return seen, kit.forgotten == [kernel.kernel_id]

    assert asyncio.run(run()) == (["It died."], True)


def test_a_dead_kernel_whose_end_somebody_wanted_is_forgotten_at_once(kit):
    async def run():
        kernel, _ = await start(kit)
        kernel.dead("It was shut down elsewhere.")
        kit.table.ended(kernel, forget=True)
        return kit.kernels.all()

    assert asyncio.run(run()) == []


@pytest.mark.parametrize(
    ("env", "seconds"), [({}, 70), ({"KERNEL_LAUNCH_TIMEOUT": "40"}, 40), ({"KERNEL_LAUNCH_TIMEOUT": ""}, 70)]
)
def test_the_time_that_a_kernelspec_names_counts_where_the_client_names_none(kit, env, seconds):
    file = kit.specs / "other" / "kernel.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "env": {"KERNEL_LAUNCH_TIMEOUT": "70"}}))

    async def run():
        kernel, _ = await start(kit, "other", **env)
        return kit.lifecycles[kernel.kernel_id].timeout

    assert asyncio.run(run()) == seconds


def test_a_start_is_read_once_and_handed_down(kit):
    async def run():
        kernel, _ = await start(kit, KERNEL_ID=ID.upper(), KERNEL_USERNAME="alice", KERNEL_UID="0042")
        return kernel.manager.launch_request, kit.lifecycles[ID].arguments["env"]

    request, environment = asyncio.run(run())
    assert (request.kernel.kernel_id, request.kernel.username, request.uid) == (ID, "alice", 42)
    assert request.judged.uid == 42
    assert environment == request.environment
    assert (environment["KERNEL_ID"], environment["KERNEL_UID"]) == (ID, "42")
