"""What large answers may take together."""

import pytest

from enterprise_gateway.errors import Unavailable
from enterprise_gateway.web.answer_budget import AnswerBudget


def test_answers_take_so_much_together_and_give_it_back():
    budget = AnswerBudget(limit=100)
    with budget.share() as one, budget.share() as other:
        one.resize(60)
        with pytest.raises(Unavailable) as refused:
            other.resize(41)
        assert refused.value.retry_after
        other.resize(40)
        one.resize(50)
        other.resize(50)
    with budget.share() as next_one:
        next_one.resize(100)


def test_what_was_refused_takes_nothing():
    budget = AnswerBudget(limit=100)
    with budget.share() as one, budget.share() as other:
        one.resize(100)
        with pytest.raises(Unavailable):
            other.resize(1)
        one.resize(0)
        other.resize(100)


def test_an_answer_that_is_alone_is_given_whatever_its_size():
    budget = AnswerBudget(limit=100)
    with budget.share() as one:
        one.resize(1000)
        with pytest.raises(Unavailable), budget.share() as other:
            other.resize(1)
