"""A start's place within the limits, without kernels: what other replicas have is played."""

import asyncio

import pytest

from enterprise_gateway.errors import LimitReached, Unavailable
from enterprise_gateway.kernels.admission import Admission, AdmissionControl, AdmissionState
from enterprise_gateway.kernels.limits import KernelLimits


class Peers:
    def __init__(self):
        self.others, self.in_order, self.failure, self.asked = {}, True, None, 0

    def check_synced(self):
        if self.failure:
            raise self.failure

    def owners(self):
        return self.others

    async def owners_now(self):
        self.asked += 1
        self.check_synced()
        return self.others


class Known:
    def __init__(self):
        self.mine = {}

    def owners(self, *, placed_only=False):
        return {} if placed_only else self.mine


@pytest.fixture
def peers():
    return Peers()


@pytest.fixture
def known():
    return Known()


@pytest.fixture
def control(peers, known):
    return AdmissionControl(known=known, others=peers, limits=lambda: KernelLimits(total=2, per_user=-1))


def see(control, admission):
    control.pod_seen(admission, kernel_id="mine", user="alice")


def test_a_start_whose_pod_came_in_time_has_its_place(control, peers):
    peers.others = {"other": "bob", "mine": "alice"}
    admission = Admission()
    see(control, admission)
    asyncio.run(admission.decided())
    assert admission.state is AdmissionState.ADMITTED


def test_a_start_whose_pod_came_too_late_is_ended(control, peers):
    peers.others = {"one": "bob", "two": "bob"}
    admission, ended = Admission(), []
    admission.begin(lambda: ended.append(True))
    see(control, admission)
    assert (admission.state, ended) == (AdmissionState.REFUSED, [True])
    with pytest.raises(LimitReached):
        asyncio.run(admission.decided())


def test_a_start_that_is_over_otherwise_is_not_ended_a_second_time(control, peers):
    admission, ended = Admission(), []
    admission.begin(lambda: ended.append(True))
    asyncio.run(admission.decided())
    admission.refuse(Unavailable("too late"))
    assert ended == []


@pytest.mark.parametrize("others", [{"one": "bob"}, {"one": "bob", "two": "bob"}], ids=["admitted", "refused"])
def test_who_waits_until_a_place_is_decided_goes_on_when_it_is(control, peers, others):
    async def steps():
        admission = Admission()
        waiting = asyncio.create_task(admission.settled())
        for _ in range(5):
            await asyncio.sleep(0)
        before = waiting.done()
        peers.others = others
        see(control, admission)
        await waiting
        return before

    assert asyncio.run(steps()) is False


def test_where_the_order_is_lost_the_api_server_is_asked_and_the_start_waits_for_its_answer(control, peers):
    peers.in_order, peers.others = False, {"one": "bob", "two": "bob"}

    async def run():
        admission = Admission()
        see(control, admission)
        see(control, admission)
        assert admission.state is AdmissionState.ASKING
        with pytest.raises(LimitReached):
            await admission.decided()

    asyncio.run(run())
    assert peers.asked == 1


def test_where_nobody_can_tell_there_is_rather_one_kernel_too_few(control, peers):
    peers.in_order, peers.failure = False, Unavailable("away")

    async def run():
        admission = Admission()
        see(control, admission)
        with pytest.raises(Unavailable):
            await admission.decided()

    asyncio.run(run())


def test_without_limits_nobody_is_asked(peers, known):
    control = AdmissionControl(known=known, others=peers, limits=lambda: KernelLimits(total=None, per_user=-1))
    peers.in_order, peers.failure = False, Unavailable("away")
    control.check("alice")
    admission = Admission()
    see(control, admission)
    assert (admission.state, peers.asked) == (AdmissionState.ADMITTED, 0)


def test_before_a_start_all_kernels_count_those_that_start_included(control, peers, known):
    known.mine, peers.others = {"one": "alice"}, {"two": "bob"}
    with pytest.raises(LimitReached):
        control.check("carol")
    peers.others = {}
    control.check("carol")


def test_without_limits_a_start_has_its_place_and_nobodys_kernels_are_counted(known):
    class Many(Peers):
        """A cluster of which each count takes time."""

        def owners(self):
            raise AssertionError("they were counted")

        owners_now = owners

    control = AdmissionControl(known=known, others=Many(), limits=lambda: KernelLimits(total=None, per_user=-1))
    control.check("alice")
    admission = Admission()
    see(control, admission)
    assert admission.state is AdmissionState.ADMITTED
