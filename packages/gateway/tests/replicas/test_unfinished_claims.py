import asyncio

import pytest

from enterprise_gateway.errors import Unavailable
from enterprise_gateway.links.supervisor.channels import KernelStatus
from enterprise_gateway.replicas.unfinished_claims import finish_claim
from enterprise_gateway_common.supervisor_protocol import KernelPhase


class Link:
    def __init__(self, phase):
        self.status, self.claims, self.failures = None, [], []
        self.changed = asyncio.Event()
        self.becomes(phase)

    def becomes(self, phase):
        self.status = KernelStatus(phase=phase, life=1, cause=None)
        self.changed.set()

    async def status_is(self, wanted):
        while not wanted(self.status):
            self.changed.clear()
            await self.changed.wait()
        return self.status

    async def claim(self, kernel_id, environment):
        if self.failures:
            raise self.failures.pop()
        self.claims.append((kernel_id, environment))
        self.becomes(KernelPhase.RUNNING)


async def finished(link, sleep):
    task = asyncio.create_task(finish_claim(link, "k1", {"A": "b"}, sleep=sleep))
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return link.claims


@pytest.mark.parametrize("phase", [KernelPhase.PREPARING, KernelPhase.WAITING])
def test_a_claim_that_nobody_finishes_is_finished(phase):
    async def scenario():
        assert await finished(Link(phase), lambda _seconds: asyncio.sleep(0)) == [("k1", {"A": "b"})]

    asyncio.run(scenario())


def test_a_claim_that_its_gateway_finishes_meanwhile_is_left_alone():
    async def scenario():
        link = Link(KernelPhase.WAITING)

        async def sleep(_seconds):
            link.becomes(KernelPhase.RUNNING)

        assert await finished(link, sleep) == []

    asyncio.run(scenario())


def test_a_kernel_that_runs_is_left_alone():
    async def scenario():
        assert await finished(Link(KernelPhase.RUNNING), lambda _seconds: asyncio.sleep(0)) == []

    asyncio.run(scenario())


def test_a_supervisor_that_does_not_answer_is_told_again():
    async def scenario():
        link = Link(KernelPhase.WAITING)
        link.failures = [Unavailable("no answer")]
        assert await finished(link, lambda _seconds: asyncio.sleep(0)) == [("k1", {"A": "b"})]

    asyncio.run(scenario())
