import asyncio
import json

import pytest

from enterprise_gateway.errors import Conflict, LaunchFailed, LimitReached
from enterprise_gateway.identity import ANONYMOUS
from enterprise_gateway.kernels.requests import StartRequest

ID = "01234567-89ab-4cde-8f01-23456789abcd"


def test_a_kernel_is_listed_as_starting_while_it_starts(kit):
    async def run():
        task, lifecycle = await kit.under_way()
        (model,) = (kernel.model() for kernel in kit.kernels.all())
        lifecycle.may_finish.set()
        kernel, new = await task
        return model["execution_state"], kernel.model()["execution_state"], new

    assert asyncio.run(run()) == ("starting", "idle", True)


def test_a_failed_start_leaves_nothing_and_is_counted(kit):
    async def run():
        task, lifecycle = await kit.under_way()
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
        task, lifecycle = await kit.under_way()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while not lifecycle.ended:
            await asyncio.sleep(0)

    asyncio.run(run())
    assert kit.kernels.all() == []


def test_a_start_with_a_chosen_id_goes_on_without_its_client_who_can_ask_again(kit):
    async def run():
        task, lifecycle = await kit.under_way(KERNEL_ID=ID)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        again = asyncio.create_task(kit.start(KERNEL_ID=ID))
        lifecycle.may_finish.set()
        return await again

    kernel, new = asyncio.run(run())
    assert (kernel.kernel_id, new) == (ID, False)


def test_a_repeated_request_with_the_same_id_gives_the_same_kernel(kit):
    async def run():
        first, _ = await kit.start(KERNEL_ID=ID, KERNEL_USERNAME="alice")
        second, new = await kit.start(KERNEL_ID=ID.upper(), KERNEL_USERNAME="alice")
        return first is second, new

    assert asyncio.run(run()) == (True, False)


def test_the_id_of_another_users_kernel_is_refused_and_tells_nothing_of_it(kit):
    async def run():
        await kit.start(KERNEL_ID=ID, KERNEL_USERNAME="alice")
        with pytest.raises(Conflict) as caught:
            await kit.start(KERNEL_ID=ID, KERNEL_USERNAME="bob")
        return caught.value.message

    assert asyncio.run(run()) == "KERNEL_ID is in use."


def test_the_id_of_a_kernel_of_another_kernelspec_is_refused(kit):
    async def run():
        await kit.start(KERNEL_ID=ID)
        with pytest.raises(Conflict, match="kernelspec 'python3'"):
            await kit.start("other", KERNEL_ID=ID)

    asyncio.run(run())


def test_kernels_that_start_count_for_the_limits(kit):
    kit.in_force.now = kit.rules(total=1)

    async def run():
        task, lifecycle = await kit.under_way()
        with pytest.raises(LimitReached):
            await kit.start()
        lifecycle.may_finish.set()
        await task

    asyncio.run(run())


def test_a_place_is_free_again_after_a_failed_start(kit):
    kit.in_force.now = kit.rules(per_user=1)

    async def run():
        task, lifecycle = await kit.under_way(KERNEL_USERNAME="alice")
        lifecycle.failure = "x"
        lifecycle.may_finish.set()
        with pytest.raises(LaunchFailed):
            await task
        kit.finish_at_once = True
        await kit.start(KERNEL_USERNAME="alice")

    asyncio.run(run())
    assert len(kit.kernels) == 1


def test_starts_under_way_at_once_never_see_each_others_environment_or_user(kit):
    async def run():
        named = [kit.start(KERNEL_USERNAME=f"user{number}", KERNEL_SECRET=f"of{number}") for number in range(20)]
        await asyncio.gather(*named, *(kit.start() for _ in range(20)))

    asyncio.run(run())
    for lifecycle in kit.lifecycles.values():
        environment, user = lifecycle.arguments["env"], lifecycle.kernel.user
        assert environment["KERNEL_USERNAME"] == user
        assert environment["KERNEL_ID"] == lifecycle.kernel.kernel_id
        assert environment.get("KERNEL_SECRET") == (None if user == "nobody" else user.replace("user", "of"))
        assert "EG_AUTH_TOKEN" not in environment


def test_a_dead_kernel_takes_no_place_and_its_id_is_free_for_a_new_one(kit):
    kit.in_force.now = kit.rules(total=1)

    async def run():
        first, _ = await kit.start(KERNEL_ID=ID)
        first.dead("It died.")
        other, _ = await kit.start()
        await kit.kernels.shutdown(other.kernel_id, ANONYMOUS)
        again, new = await kit.start(KERNEL_ID=ID)
        return first is again, new, again.model()["execution_state"]

    assert asyncio.run(run()) == (False, True, "idle")


def test_two_who_ask_at_once_for_a_dead_kernels_id_get_the_same_new_one(kit):
    async def run():
        dead, _ = await kit.start(KERNEL_ID=ID)
        dead.dead("It died.")
        (one, first), (other, second) = await asyncio.gather(kit.start(KERNEL_ID=ID), kit.start(KERNEL_ID=ID))
        assert one is other is kit.kernels.get(ID, ANONYMOUS) is not dead
        return sorted((first, second))

    assert asyncio.run(run()) == [False, True]


@pytest.mark.parametrize(
    ("env", "seconds"), [({}, 70), ({"KERNEL_LAUNCH_TIMEOUT": "40"}, 40), ({"KERNEL_LAUNCH_TIMEOUT": ""}, 70)]
)
def test_the_time_that_a_kernelspec_names_counts_where_the_client_names_none(kit, env, seconds):
    file = kit.specs / "other" / "kernel.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "env": {"KERNEL_LAUNCH_TIMEOUT": "70"}}))

    async def run():
        kernel, _ = await kit.start("other", **env)
        return kit.lifecycles[kernel.kernel_id].timeout

    assert asyncio.run(run()) == seconds


def test_a_start_is_read_once_and_handed_down(kit):
    async def run():
        kernel, _ = await kit.start(KERNEL_ID=ID.upper(), KERNEL_USERNAME="alice", KERNEL_UID="0042")
        return kernel.manager.launch_request, kit.lifecycles[ID].arguments["env"]

    request, environment = asyncio.run(run())
    assert (request.kernel.kernel_id, request.kernel.username, request.uid) == (ID, "alice", 42)
    assert request.judged.uid == 42
    assert environment == request.environment
    assert (environment["KERNEL_ID"], environment["KERNEL_UID"]) == (ID, "42")


# --------------------------------------------------------------------------------------- a client that doesn't wait


def test_a_client_that_doesnt_wait_is_answered_while_the_kernel_starts(kit):
    async def run():
        task, lifecycle = await kit.under_way(wait=0.0)
        kernel, new = await task
        before = kernel.model()["execution_state"]
        lifecycle.may_finish.set()
        await kernel.wait_until_ready()
        return before, new, kernel.model()["execution_state"]

    assert asyncio.run(run()) == ("starting", True, "idle")
    assert (kit.metrics.launches, kit.metrics.pending) == ([("python3", "success")], ["started"])


def test_where_the_administrator_wants_it_nobody_waits(kit):
    kit.in_force.now = kit.rules(pending_starts=True)

    async def run():
        task, lifecycle = await kit.under_way()
        kernel, _ = await task
        state = kernel.execution_state
        lifecycle.may_finish.set()
        await kernel.wait_until_ready()
        return state

    assert asyncio.run(run()) == "starting"


@pytest.mark.parametrize(("env", "seconds"), [({"KERNEL_LAUNCH_TIMEOUT": "40"}, 600), ({"KERNEL_LAUNCH_TIMEOUT": "700"}, 700)])
def test_a_start_that_nobody_waits_for_has_more_time_than_a_client_would_have_waited(kit, env, seconds):
    async def run():
        kernel, _ = await kit.start(wait=60.0, **env)
        return kit.lifecycles[kernel.kernel_id].timeout

    assert asyncio.run(run()) == seconds


def test_a_refusal_is_the_answer_of_a_client_that_doesnt_wait_and_leaves_nothing(kit):
    async def run():
        task, lifecycle = await kit.under_way(made=False, wait=0.0)
        lifecycle.failure = "Kubernetes refused the kernel's Pod"
        lifecycle.may_finish.set()
        lifecycle.may_be_made.set()
        with pytest.raises(LaunchFailed, match="refused"):
            await task
        assert lifecycle.supervision.told == []

    asyncio.run(run())
    assert (kit.kernels.all(), kit.metrics.pending) == ([], [])


def test_a_client_that_goes_away_before_it_is_answered_ends_its_start(kit):
    async def run():
        task, lifecycle = await kit.under_way(made=False, wait=0.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while not lifecycle.ended:
            await asyncio.sleep(0)

    asyncio.run(run())
    assert kit.kernels.all() == []


def test_a_kernel_that_never_came_up_stays_for_who_was_answered_and_counts_for_no_limit(kit):
    kit.in_force.now = kit.rules(total=1)

    async def run():
        task, lifecycle = await kit.under_way(wait=0.0)
        kernel, _ = await task
        lifecycle.failure = "no image"
        lifecycle.may_finish.set()
        with pytest.raises(LaunchFailed):
            await kernel.wait_until_ready()
        (model,) = (known.model() for known in kit.kernels.all())
        kit.finish_at_once = True
        await kit.start()
        return model["execution_state"], model["reason"], lifecycle.supervision.told

    assert asyncio.run(run()) == ("dead", "no image", ["no image"])
    assert kit.metrics.pending == ["failed"]


def test_a_kernel_that_is_deleted_while_it_starts_is_forgotten_though_its_client_was_answered(kit):
    async def run():
        task, lifecycle = await kit.under_way(wait=0.0)
        kernel, _ = await task
        await kit.kernels.shutdown(kernel.kernel_id, ANONYMOUS)
        return kernel.reason, lifecycle.ended

    assert asyncio.run(run()) == ("The kernel was deleted while it started.", True)
    assert (kit.kernels.all(), kit.metrics.pending) == ([], ["deleted"])


def test_who_joins_a_start_waits_for_it_or_not_as_for_a_start_of_its_own(kit):
    async def run():
        task, lifecycle = await kit.under_way(wait=0.0, KERNEL_ID=ID)
        await task
        kernel, new = await kit.start(wait=0.0, KERNEL_ID=ID)
        assert (kernel.execution_state, new) == ("starting", False)
        waits = asyncio.create_task(kit.start(KERNEL_ID=ID))
        joins = asyncio.create_task(kit.kernels.join(kernel, StartRequest(kernel_name=None)))
        for _ in range(20):
            await asyncio.sleep(0)
        assert [waits.done(), joins.done()] == [False, False]
        lifecycle.may_finish.set()
        await joins
        return (await waits)[0] is kernel

    assert asyncio.run(run())


def test_a_kernel_that_is_up_or_dead_is_joined_at_once(kit):
    async def run():
        kernel, _ = await kit.start()
        await kit.kernels.join(kernel, StartRequest(kernel_name=None))
        kernel.dead("It died.")
        await kit.kernels.join(kernel, StartRequest(kernel_name=None))

    asyncio.run(run())


def test_who_asks_for_a_kernel_by_another_start_has_come_back_for_it(kit):
    async def run():
        kernel, _ = await kit.start(wait=0.0, KERNEL_ID=ID)
        before = kernel.was_claimed
        await kit.start(wait=0.0, KERNEL_ID=ID)
        return before, kernel.was_claimed

    assert asyncio.run(run()) == (False, True)


def test_a_client_has_the_time_of_the_start_to_ask_for_the_kernel_again(kit):
    async def run():
        kernel, _ = await kit.start()
        assert not kernel.is_unclaimed
        task, lifecycle = await kit.under_way(wait=0.0)
        kernel, _ = await task
        kit.clock.now += 599
        before = kernel.is_unclaimed
        kit.clock.now += 1
        unclaimed = kernel.is_unclaimed
        await kit.kernels.find(kernel.kernel_id, ANONYMOUS)
        lifecycle.may_finish.set()
        return before, unclaimed, kernel.is_unclaimed

    assert asyncio.run(run()) == (False, True, False)
