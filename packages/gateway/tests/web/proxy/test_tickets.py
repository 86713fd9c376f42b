import pytest
from hypothesis import given
from hypothesis import strategies as st

from enterprise_gateway.web.proxy.tickets import Tickets, Visit

SECRET = b"secret of the kernel"


@pytest.fixture
def tickets(clock):
    return Tickets(clock=clock)


def issued(tickets, user="alice"):
    return tickets.issue(Visit(kernel_id="k", port=4040, user=user), SECRET)


def check(tickets, ticket, **changed):
    return tickets.check(ticket, **{"kernel_id": "k", "port": 4040, "owner": "alice", "secret": SECRET, **changed})


@pytest.mark.parametrize("user", ["alice", None])
def test_a_ticket_is_good_for_who_asked_for_it(tickets, user):
    assert check(tickets, issued(tickets, user)) == Visit(kernel_id="k", port=4040, user=user)


@pytest.mark.parametrize("changed", [{"kernel_id": "l"}, {"port": 4041}, {"owner": "bob"}, {"secret": b"other"}, {"secret": b""}])
def test_a_ticket_is_good_for_nothing_else(tickets, changed):
    assert check(tickets, issued(tickets), **changed) is None


def test_a_ticket_ends(tickets, clock):
    ticket = issued(tickets)
    clock.now += 11 * 3600
    assert check(tickets, ticket)
    clock.now += 3601
    assert check(tickets, ticket) is None


def test_nobody_makes_a_ticket_last_longer_or_name_another(tickets):
    ticket = issued(tickets)
    assert check(tickets, "a" + ticket[1:]) is None
    assert check(tickets, ticket.replace("-", "0-", 1)) is None
    assert check(tickets, ticket + "A") is None


@given(st.text(max_size=200))
def test_no_other_text_is_a_ticket(text):
    assert check(Tickets(clock=lambda: 0.0), text) is None


def test_a_ticket_can_stand_in_a_path(tickets):
    assert all(character.isalnum() or character in "-_" for character in issued(tickets))
