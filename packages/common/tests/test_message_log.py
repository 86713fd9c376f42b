"""The log of what a kernel said, without a kernel."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enterprise_gateway_common.message_log import START, Gap, MessageLog, Position


@dataclass
class Message:
    size: int = 10
    outlives_output: bool = False
    parent_header: bytes = b"{}"


def read_all(log: MessageLog[Message], position: Position = START) -> list[Message | Gap]:
    items = []
    while (found := log.read(position)) is not None:
        item, position = found
        items.append(item)
    return items


def test_messages_are_read_in_order_and_any_number_of_times():
    log = MessageLog[Message](max_bytes=100, max_messages=100)
    messages = [Message(), Message(), Message()]
    assert [log.append(message) for message in messages] == [(0, 0), (1, 10), (2, 20)]
    assert read_all(log) == read_all(log) == messages
    assert (len(log), log.size, log.end) == (3, 30, (3, 30))


@pytest.mark.parametrize("limits", [{"max_bytes": 30, "max_messages": 100}, {"max_bytes": 1000, "max_messages": 3}])
def test_the_oldest_output_gives_way_and_leaves_one_gap_in_its_place(limits):
    dropped = []
    log = MessageLog[Message](**limits, dropped=lambda: dropped.append(1))
    messages = [Message(parent_header=b"%d" % number) for number in range(5)]
    for message in messages:
        log.append(message)
        log.enforce()
    assert read_all(log) == [Gap(START, Position(2, 20), b"1"), *messages[2:]]
    assert (len(dropped), Gap(START, Position(2, 20)).messages, Gap(START, Position(2, 20)).size) == (2, 2, 20)


def test_replies_and_states_outlive_output_and_keep_their_place():
    log = MessageLog[Message](max_bytes=30, max_messages=100)
    reply = Message(outlives_output=True)
    last = Message()
    for message in (Message(), reply, Message(), reply, last):
        log.append(message)
    log.enforce()
    first, second = Gap(START, Position(1, 10)), Gap(Position(2, 20), Position(3, 30))
    assert read_all(log) == [first, reply, second, reply, last]


def test_where_there_is_no_output_the_oldest_reply_gives_way():
    log = MessageLog[Message](max_bytes=30, max_messages=100)
    replies = [Message(outlives_output=True, parent_header=b"%d" % number) for number in range(5)]
    for reply in replies:
        log.append(reply)
    log.enforce()
    assert read_all(log) == [Gap(START, Position(2, 20), b"1"), *replies[2:]]


def test_a_reader_in_the_middle_of_a_gap_misses_only_the_rest_of_it():
    log = MessageLog[Message](max_bytes=20, max_messages=100)
    for _ in range(5):
        log.append(Message())
    log.enforce()
    (gap, behind) = log.read(Position(1, 10)) or (None, None)
    assert (gap, behind) == (Gap(Position(1, 10), Position(3, 30)), (3, 30))


def test_what_was_forgotten_is_a_gap_for_whoever_asks_all_the_same():
    log = MessageLog[Message](max_bytes=100, max_messages=100)
    last = Message()
    for message in (Message(), Message(), last):
        log.append(message)
    log.forget_before(Position(2, 20))
    assert (read_all(log), log.size) == ([Gap(START, Position(2, 20)), last], 10)
    log.clear()
    assert (read_all(log, log.end), len(log), log.size) == ([], 0, 0)


def test_what_the_fastest_reader_is_yet_to_get_stays_beyond_the_bounds():
    log = MessageLog[Message](max_bytes=20, max_messages=100)
    messages = [Message(), Message(outlives_output=True), Message(), Message(size=50)]
    for message in messages:
        log.append(message)
    log.enforce(before=Position(2, 20))
    assert read_all(log) == [Gap(START, Position(2, 20)), *messages[2:]]
    log.enforce(before=Position(2, 20))
    assert log.size == 60


@given(
    st.lists(st.tuples(st.integers(1, 40), st.booleans(), st.integers(0, 30)), max_size=60),
    st.integers(1, 100),
    st.integers(1, 12),
)
def test_bounds_hold_and_every_message_is_read_or_missed_exactly_once(steps, max_bytes, max_messages):
    counted = []
    log = MessageLog[Message](max_bytes=max_bytes, max_messages=max_messages, changed=counted.append)
    offsets = [0]
    for size, outlives, forgotten in steps:
        log.append(Message(size, outlives))
        log.enforce()
        offsets.append(offsets[-1] + size)
        if forgotten and forgotten <= log.end.number and forgotten % 5 == 0:
            log.forget_before(Position(forgotten, offsets[forgotten]))
        assert log.size == sum(counted) <= max_bytes
        assert len(log) <= max_messages
    for begin in range(len(offsets)):
        position, seen, size = Position(begin, offsets[begin]), 0, 0
        while (found := log.read(position)) is not None:
            item, behind = found
            assert behind == (position.number + (item.messages if isinstance(item, Gap) else 1), position.offset + item.size)
            assert offsets[behind.number] == behind.offset
            seen, size, position = seen + (not isinstance(item, Gap)), size + item.size, behind
        assert (position, size) == (log.end, offsets[-1] - offsets[begin])
        assert begin or seen == len(log)
