import asyncio

import pytest

from enterprise_gateway.errors import Unavailable
from enterprise_gateway.websocket.setups import SetupQueue


def test_no_more_are_set_up_at_one_time_than_there_are_places_and_the_others_follow_in_order():
    async def scenario():
        queue, begun, turns = SetupQueue(places=2), [], {}

        async def set_up(name):
            turns[name] = await queue.turn()
            begun.append(name)

        tasks = [asyncio.create_task(set_up(name)) for name in "abcd"]
        while len(begun) < 2:
            await asyncio.sleep(0)
        assert begun == ["a", "b"]
        turns["b"].end()
        await tasks[2]
        assert begun == ["a", "b", "c"]
        turns["a"].end()
        await tasks[3]
        assert begun == ["a", "b", "c", "d"]

    asyncio.run(scenario())


def test_a_turn_that_is_ended_twice_frees_one_place():
    async def scenario():
        queue = SetupQueue(places=1, patience=0)
        turn = await queue.turn()
        turn.end()
        turn.end()
        await queue.turn()
        with pytest.raises(Unavailable):
            await queue.turn()

    asyncio.run(scenario())


def test_who_would_wait_too_long_is_told_when_to_come_again_and_takes_no_place():
    async def scenario():
        queue = SetupQueue(places=1, patience=0)
        turn = await queue.turn()
        with pytest.raises(Unavailable) as caught:
            await queue.turn()
        assert caught.value.retry_after > 0
        turn.end()
        await queue.turn()

    asyncio.run(scenario())
