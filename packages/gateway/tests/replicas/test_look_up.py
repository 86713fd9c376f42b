import pytest

from enterprise_gateway.errors import Unavailable
from enterprise_gateway.replicas.look_up import LookUpBudget


@pytest.fixture
def budget(clock):
    return LookUpBudget(clock=clock)


def test_an_id_that_was_asked_for_a_moment_ago_is_not_asked_for_again(budget, clock):
    assert budget.allows("a")
    assert not budget.allows("a")
    clock.now += 1
    assert budget.allows("a")


def test_an_id_for_which_there_was_no_answer_is_asked_for_again_at_once(budget):
    assert budget.allows("a")
    budget.forget("a")
    assert budget.allows("a")


def test_a_flood_of_unknown_ids_costs_a_bounded_number_of_calls(budget, clock):
    asked = refused = 0
    for number in range(1000):
        clock.now += 0.01
        try:
            asked += budget.allows(str(number))
        except Unavailable:
            refused += 1
    assert 100 <= asked <= 121
    assert asked + refused == 1000


def test_after_a_flood_kernels_are_looked_up_again(budget, clock):
    for number in range(20):
        budget.allows(str(number))
    with pytest.raises(Unavailable):
        budget.allows("one more")
    clock.now += 1
    assert budget.allows("a")
