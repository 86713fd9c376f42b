import asyncio

import pytest

from enterprise_gateway.identity import ANONYMOUS, Identity
from enterprise_gateway.kernels.sessions import Sessions


@pytest.fixture
def sessions(kit):
    return Sessions(kernels=kit.kernels, maximum=10)


def test_those_who_ask_for_the_same_document_at_once_have_one_turn_after_the_other(sessions):
    async def run():
        may_go_on, order = asyncio.Event(), []

        async def ask(name, path, identity):
            async with sessions.turn(path, "notebook", identity):
                order.append(name)
                await may_go_on.wait()

        asked = [
            ("first", "a", ANONYMOUS),
            ("second", "a", ANONYMOUS),
            ("other", "b", ANONYMOUS),
            ("of bob", "a", Identity("bob")),
        ]
        tasks = [asyncio.create_task(ask(*one)) for one in asked]
        for _ in range(5):
            await asyncio.sleep(0)
        before = list(order)
        may_go_on.set()
        await asyncio.gather(*tasks)
        return before, order[-1], sessions._turns

    assert asyncio.run(run()) == (["first", "other", "of bob"], "second", {})


def test_one_who_gives_up_waiting_for_a_turn_leaves_it_to_the_next(sessions):
    async def run():
        async with sessions.turn("a", "notebook", ANONYMOUS):

            async def wait():
                async with sessions.turn("a", "notebook", ANONYMOUS):
                    pass

            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        async with sessions.turn("a", "notebook", ANONYMOUS):
            return len(sessions._turns)

    assert asyncio.run(run()) == 1


def test_who_looks_at_a_session_asks_for_its_kernel(kit, sessions):
    async def run():
        kernel, _ = await kit.start()
        session = sessions.add(path="a", name="", type_="notebook", kernel=kernel)
        before = kernel.was_claimed
        sessions.get(session.session_id, ANONYMOUS)
        return before, kernel.was_claimed

    assert asyncio.run(run()) == (False, True)
