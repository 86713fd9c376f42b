"""Where sessions stand, and which gateway has them."""

from enterprise_gateway_common.message_log import START, Position
from kernel_launchers.link.sessions import Sessions

END = Position(10, 1000)


def test_a_new_session_begins_at_the_end_and_an_old_one_where_it_was_delivered_to():
    sessions = Sessions()
    assert sessions.position("a", end=START) == START
    sessions.delivered(b"one", {"a": Position(3, 30)})
    assert sessions.position("a", end=END) == Position(3, 30)
    assert sessions.position("b", end=END) == END


def test_who_had_a_session_is_told_to_whoever_takes_it():
    sessions = Sessions()
    assert sessions.attach("a", b"one", end=START) is None
    assert sessions.attach("a", b"one", end=START) is None
    assert sessions.attach("a", b"two", end=START) == b"one"


def test_a_gateway_that_lost_a_session_can_only_say_that_it_delivered_more():
    sessions = Sessions()
    sessions.attach("a", b"one", end=START)
    sessions.attach("a", b"two", end=START)
    sessions.delivered(b"two", {"a": Position(5, 50)})
    sessions.delivered(b"one", {"a": Position(4, 40)})
    assert sessions.position("a", end=END) == Position(5, 50)
    sessions.delivered(b"one", {"a": Position(6, 60)})
    assert sessions.position("a", end=END) == Position(6, 60)


def test_a_session_whose_gateway_is_gone_is_nobodys():
    sessions = Sessions()
    sessions.attach("a", b"one", end=START)
    sessions.detach_all(b"one")
    assert sessions.attach("a", b"two", end=START) is None


def test_sessions_that_are_away_are_forgotten_first_and_there_are_never_too_many():
    sessions = Sessions(most=3)
    for name in ("a", "b", "c"):
        sessions.attach(name, b"one", end=START)
    sessions.position("away", end=START)
    sessions.position("another", end=START)
    assert len(sessions) == 3
    assert sessions.attach("c", b"two", end=END) == b"one"
