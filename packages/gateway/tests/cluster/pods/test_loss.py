"""With a kernel that a test silences, a clock that it moves, and a pod on which replicas write."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from enterprise_gateway.cluster.pods.loss import LossDetector
from enterprise_gateway_common import labels

GRACE = 20.0


class Replica:
    """One replica's way to a kernel, and what it writes on the pod."""

    def __init__(self, pod, *, acts=True, name="one"):
        self.pod, self.acts, self.answers, self.can_write, self.asked = pod, acts, True, True, 0
        self.detector = LossDetector(
            answers=self._ask, leadership=self, grace=GRACE, identity=name, now=pod.now, clock=lambda: pod.seconds
        )

    def may_act(self, *, started_here):
        return self.acts

    async def _ask(self):
        self.asked += 1
        return self.answers

    async def mark(self, annotations):
        if self.can_write:
            self.pod.state.annotations.update(annotations)
        return self.can_write

    async def settle(self):
        await self.detector.settle(self.pod, mark=self.mark, started_here=False)


class Pod:
    """A pod in doubt; each look at it takes its time on the clock, and a test may do something at a second."""

    def __init__(self):
        self.state = SimpleNamespace(annotations={}, kernel_id="k1", node="node2")
        self.seconds, self.in_doubt, self.at = 0.0, True, {}

    def now(self):
        return datetime.fromtimestamp(self.seconds, UTC)

    async def changed(self, seconds):
        self.seconds += seconds
        for moment in [moment for moment in self.at if moment <= self.seconds]:
            await self.at.pop(moment)()
        await asyncio.sleep(0)

    @property
    def lost(self):
        return labels.LOSS_ANNOTATION in self.state.annotations

    def ends_at(self, second):
        async def end():
            self.in_doubt = False

        self.at[second] = end


@pytest.fixture
def pod():
    return Pod()


def test_a_kernel_that_answers_isnt_lost_however_long_its_node_is_silent(pod):
    replica = Replica(pod)
    pod.ends_at(3600)
    asyncio.run(replica.settle())
    assert not pod.lost
    assert pod.state.annotations == {}
    assert replica.asked > 100


def test_a_kernel_that_is_silent_for_the_grace_is_lost(pod):
    replica = Replica(pod)
    replica.answers = False
    asyncio.run(replica.settle())
    assert pod.lost
    assert GRACE <= pod.seconds < GRACE + 5


def test_silence_that_ends_before_the_grace_does_counts_no_more(pod):
    replica = Replica(pod)
    replica.answers = False

    async def answer():
        replica.answers = True

    async def silence():
        replica.answers = False

    pod.at = {GRACE - 4: answer, GRACE: silence}
    pod.ends_at(2 * GRACE - 8)
    asyncio.run(replica.settle())
    assert not pod.lost


def test_a_replica_that_may_not_act_declares_nothing_lost(pod):
    replica = Replica(pod, acts=False)
    replica.answers = False
    pod.ends_at(10 * GRACE)
    asyncio.run(replica.settle())
    assert pod.state.annotations == {}


def test_a_replica_that_hears_nothing_learns_that_another_one_hears_the_kernel(pod):
    deaf, hearing = Replica(pod), Replica(pod, acts=False, name="two")
    deaf.answers = False
    pod.ends_at(10 * GRACE)

    async def both():
        await asyncio.gather(deaf.settle(), hearing.settle())

    asyncio.run(both())
    assert not pod.lost
    assert pod.state.annotations[labels.HEARD_ANNOTATION].startswith("one ")


def test_an_answer_to_an_older_question_is_none(pod):
    replica = Replica(pod)
    replica.answers = False
    pod.state.annotations[labels.HEARD_ANNOTATION] = "one 1969-12-31T23:00:00Z"
    asyncio.run(replica.settle())
    assert pod.lost


def test_what_cant_be_written_yet_is_written_later_and_after_the_others_had_their_time(pod):
    replica = Replica(pod)
    replica.answers = replica.can_write = False

    async def heal():
        replica.can_write = True

    pod.at = {5 * GRACE: heal}
    asyncio.run(replica.settle())
    assert pod.lost
    assert pod.seconds >= 5.5 * GRACE


def test_the_end_of_a_doubt_ends_the_questions(pod):
    replica = Replica(pod)
    pod.in_doubt = False
    asyncio.run(replica.settle())
    assert replica.asked == 0
