import pytest

from enterprise_gateway.launch.pool_demand import Demand
from enterprise_gateway.launch.pool_size import PoolSize


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_without_starts_the_least_wait(clock):
    assert Demand(clock=clock).wanted(PoolSize(2, 9)) == 2


def test_as_many_wait_as_the_busiest_minute_needed(clock):
    demand = Demand(clock=clock)
    for _ in range(5):
        demand.started()
    assert demand.wanted(PoolSize(1, 9)) == 5


def test_never_more_wait_than_the_most(clock):
    demand = Demand(clock=clock)
    for _ in range(50):
        demand.started()
    assert demand.wanted(PoolSize(1, 4)) == 4


def test_after_ten_minutes_a_start_counts_no_more(clock):
    demand = Demand(clock=clock)
    for _ in range(5):
        demand.started()
    clock.now += 599
    assert demand.wanted(PoolSize(1, 9)) == 5
    clock.now += 1
    assert demand.wanted(PoolSize(1, 9)) == 1
