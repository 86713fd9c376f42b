import asyncio

import pytest

from enterprise_gateway.errors import LaunchFailed
from enterprise_gateway.kernels.pending import PendingStart, StartState, words_of_failure


class Start:
    """A start that a test moves on."""

    def __init__(self):
        self.told, self.may_end, self.placed = [], asyncio.Event(), asyncio.Event()
        self.pending = PendingStart(seconds=60, tell_failure=self.tell)
        self.launch = asyncio.create_task(self.run())

    async def tell(self, words):
        self.told.append(words)

    async def run(self):
        await self.may_end.wait()

    def answer(self, patience, placed=None):
        return asyncio.create_task(self.pending.is_over(self.launch, patience=patience, placed=placed))

    async def turns(self):
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
def scenario():
    def run(steps):
        async def with_start():
            start = Start()
            async with asyncio.timeout(10):
                await steps(start)
            start.may_end.set()
            await start.launch

        asyncio.run(with_start())

    return run


def test_nobody_is_answered_while_something_can_still_be_refused(scenario):
    async def steps(start):
        answer = start.answer(0.0)
        await start.turns()
        assert not answer.done()
        start.pending.made()
        assert await answer is False

    scenario(steps)


def test_nobody_is_answered_whose_place_within_the_limits_others_may_take(scenario):
    async def steps(start):
        answer = start.answer(0.0, start.placed.wait)
        start.pending.made()
        await start.turns()
        assert not answer.done()
        start.placed.set()
        assert await answer is False

    scenario(steps)


@pytest.mark.parametrize("patience", [0.0, 60.0, None], ids=["none", "some", "any"])
def test_a_start_that_is_over_before_it_was_made_is_over_for_everybody(scenario, patience):
    async def steps(start):
        answer = start.answer(patience)
        await start.turns()
        start.may_end.set()
        assert await answer is True

    scenario(steps)


def test_a_client_that_waits_for_a_while_is_answered_when_the_kernel_is_up(scenario):
    async def steps(start):
        answer = start.answer(60.0)
        start.pending.made()
        await start.turns()
        assert not answer.done()
        start.may_end.set()
        assert await answer is True

    scenario(steps)


def test_who_waits_and_goes_away_leaves_the_start_alone(scenario):
    async def steps(start):
        answer = start.answer(None)
        await start.turns()
        answer.cancel()
        await asyncio.gather(answer, return_exceptions=True)
        assert not start.launch.done()

    scenario(steps)


def test_a_failure_is_told_to_other_replicas_once_and_only_where_a_client_knows_the_kernel(scenario):
    async def steps(start):
        unknown = PendingStart(seconds=60, tell_failure=start.tell)
        unknown.made()
        await unknown.fails("nobody knows it")
        start.pending.made()
        start.pending.answered()
        await start.pending.fails("no image")
        await start.pending.fails("no image, once more")
        assert start.told == ["no image"]

    scenario(steps)


def test_a_start_only_moves_forward(scenario):
    async def steps(start):
        pending = start.pending
        seen = [pending.state]
        for step in (pending.made, pending.answered, pending.made, pending.hand_over, pending.made, pending.answered):
            step()
            seen.append(pending.state)
        assert seen == [
            StartState.REFUSABLE,
            StartState.MADE,
            StartState.ANSWERED,
            StartState.ANSWERED,
            *[StartState.HANDED_OVER] * 3,
        ]
        assert (pending.is_handed_over, pending.was_answered) == (True, True)

    scenario(steps)


@pytest.mark.parametrize(
    ("error", "draining", "words"),
    [
        (LaunchFailed("No image."), False, "No image."),
        (asyncio.CancelledError(), False, "The kernel was deleted while it started."),
        (asyncio.CancelledError(), True, "The gateway was stopped while the kernel started."),
        (ValueError("a secret"), False, "ValueError"),
    ],
)
def test_a_failure_is_told_in_words_for_the_kernels_user(error, draining, words):
    assert words_of_failure(error, draining=draining) == words
