import os

import pytest

from kernel_launchers.supervisor.loop import READ, Loop
from kernel_launchers.supervisor.output import Tail


class Clock:
    """Goes on by what the loop waits for."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Poller:
    """Finds nothing ready, and lets time go by."""

    def __init__(self, clock):
        self._clock = clock

    def poll(self, milliseconds):
        self._clock.now += milliseconds / 1000
        return []


def test_timers_run_in_the_order_of_their_times_and_a_cancelled_one_never():
    clock, ran = Clock(), []
    loop = Loop(poller=Poller(clock), clock=clock)
    loop.call_later(3, lambda: (ran.append("last"), loop.stop()))
    loop.call_later(2, lambda: ran.append("cancelled")).cancel()
    loop.call_later(1, lambda: ran.append("first"))
    loop.run()
    assert ran == ["first", "last"]
    assert clock.now == pytest.approx(103)


def test_a_descriptor_that_a_callback_of_the_same_round_forgot_is_left_alone():
    loop, ran = Loop(), []
    pipes = [os.pipe(), os.pipe()]
    readers = [reader for reader, _ in pipes]

    def heard(reader):
        ran.append(reader)
        for one in readers:
            loop.forget(one)
        loop.stop()

    for reader, writer in pipes:
        os.write(writer, b"x")
        loop.watch(reader, READ, lambda reader=reader: heard(reader))
    loop.run()
    assert len(ran) == 1
    for reader, writer in pipes:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ([b"short\n"], "short"),
        ([b"a line that is cut\n", b"whole\n", b"lines\n"], "whole\nlines"),
        ([b"0123456789012345678901234567890123456789"], "01234567890123456789"[:20]),
        ([b"x" * 50 + "é".encode() * 10], "é" * 10),
    ],
)
def test_the_end_of_what_was_written_is_kept_from_the_beginning_of_a_line(written, kept):
    tail = Tail(longest=20)
    for data in written:
        tail.add(data)
    assert tail.text() == kept


def test_a_file_that_takes_the_number_of_one_that_was_ready_is_not_taken_for_it():
    # A read of the new one would wait for ever, and everything else with it.
    loop, ran = Loop(), []
    before, after = os.pipe(), []

    def begin_anew():
        reader, _ = before
        loop.forget(reader)
        os.close(reader)
        after.extend(os.pipe())
        assert after[0] == reader
        loop.watch(after[0], READ, lambda: ran.append("the new one"))
        loop.forget(first[0])
        loop.call_later(0, loop.stop)

    first = os.pipe()
    # Made later, so what is ready is told after the other.
    os.write(first[1], b"x")
    os.write(before[1], b"x")
    loop.watch(first[0], READ, begin_anew)
    loop.watch(before[0], READ, lambda: ran.append("the old one"))
    loop.run()
    assert ran == []
    for descriptor in (*first, before[1], *after):
        os.close(descriptor)
