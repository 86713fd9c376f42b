import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enterprise_gateway.websocket.messages import Gap, Item, KernelMessage
from enterprise_gateway.websocket.replay_buffer import ReplayBudget, ReplayBuffer


def message(kind: str = "stream", channel: Any = "iopub", size: int = 100, parent: str = "p") -> KernelMessage:
    header = json.dumps({"msg_id": "i", "msg_type": kind}).encode()
    rest = json.dumps({"msg_id": parent}).encode()
    return KernelMessage(channel, [header, rest, b"{}", b"x" * (size - len(header) - len(rest) - 2)])


class Budget:
    def __init__(self, **limits: int) -> None:
        self.counts: Counter[str] = Counter()
        self.budget = ReplayBudget(
            **{"max_bytes": 10_000, "max_messages": 100, **limits},
            changed=lambda size: self.counts.update(bytes=size),
            dropped=lambda: self.counts.update(dropped=1),
        )

    def buffer(self) -> ReplayBuffer:
        return ReplayBuffer(budget=self.budget)


def drain(buffer: ReplayBuffer) -> list[Item]:
    items = []
    while buffer:
        items.append(buffer.pop())
    return items


def test_messages_come_out_in_order_and_are_counted():
    budget = Budget()
    buffer = budget.buffer()
    messages = [message() for _ in range(5)]
    for one in messages:
        buffer.append(one)
    assert (buffer.size, budget.counts["bytes"], len(buffer)) == (500, 500, 5)
    assert drain(buffer) == messages
    assert (buffer.size, budget.counts["bytes"], budget.counts["dropped"]) == (0, 0, 0)


@pytest.mark.parametrize("limits", [{"max_bytes": 300}, {"max_messages": 3}])
def test_the_oldest_output_gives_way_and_leaves_one_gap_in_its_place(limits):
    budget = Budget(**limits)
    buffer = budget.buffer()
    messages = [message(parent=str(number)) for number in range(10)]
    for one in messages:
        buffer.append(one)
    gap, *rest = drain(buffer)
    assert gap == Gap(7, 700, b'{"msg_id": "6"}')
    assert rest == messages[7:]
    assert budget.counts["dropped"] == 7


def test_replies_and_states_outlive_output_and_keep_their_place():
    buffer = Budget(max_messages=4).buffer()
    first, second, third, last = (message(parent=name) for name in ("first", "second", "third", "last"))
    reply, state = message("execute_reply", "shell"), message("status")
    for one in (first, reply, second, state, third, last):
        buffer.append(one)
    gaps = [Gap(1, 100, one.parts[1]) for one in (first, second)]
    assert drain(buffer) == [gaps[0], reply, gaps[1], state, third, last]


def test_where_there_is_no_output_the_oldest_reply_gives_way():
    buffer = Budget(max_messages=2).buffer()
    replies = [message("execute_reply", "shell") for _ in range(5)]
    for one in replies:
        buffer.append(one)
    assert drain(buffer) == [Gap(3, 300, replies[0].parts[1]), *replies[3:]]


def test_what_is_put_back_stands_before_what_came_meanwhile():
    buffer = Budget().buffer()
    early, late = message(), message()
    buffer.append(late)
    buffer.prepend([gap := Gap(1, 5), early])
    assert drain(buffer) == [gap, early, late]


def test_buffers_of_one_kernel_share_its_bounds_and_the_fullest_gives_way():
    budget = Budget(max_messages=6)
    full, other = budget.buffer(), budget.buffer()
    for _ in range(5):
        full.append(message())
    for _ in range(3):
        other.append(message())
    assert (len(full), len(other)) == (3, 3)


@given(
    st.lists(
        st.tuples(st.sampled_from(["append", "prepend", "pop"]), st.sampled_from(["stream", "status"]), st.integers(60, 400))
    )
)
def test_the_bounds_hold_and_the_order_stays_whatever_happens(steps):
    budget = Budget(max_bytes=1000, max_messages=6)
    buffer = budget.buffer()
    lowest, highest = 0, 0
    for step, kind, size in steps:
        if step == "append":
            buffer.append(message(kind, size=size, parent=str(highest := highest + 1)))
        elif step == "prepend":
            buffer.prepend([message(kind, size=size, parent=str(lowest := lowest - 1))])
        elif buffer:
            buffer.pop()
        assert buffer.size <= 1000
        assert len(buffer) <= 6
        assert budget.counts["bytes"] == buffer.size
    numbers = [int(json.loads(item.parts[1])["msg_id"]) for item in drain(buffer) if isinstance(item, KernelMessage)]
    assert numbers == sorted(numbers)
    assert budget.counts["bytes"] == 0
