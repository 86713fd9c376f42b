import asyncio
from contextlib import suppress

import pytest

from enterprise_gateway.event_loop import EventLoopMonitor


class Loop:
    """A clock, and a sleep that ends as late as a test says."""

    def __init__(self):
        self.now, self.delays, self.during = 1000.0, [], []

    def clock(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds
        if not self.delays:
            raise asyncio.CancelledError
        self.now += self.delays.pop(0)
        for ask in self.during:
            ask()


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def monitor(loop):
    return EventLoopMonitor(clock=loop.clock, sleep=loop.sleep)


def measure(monitor, loop, *delays):
    loop.delays = list(delays)
    with suppress(asyncio.CancelledError):
        asyncio.run(monitor.run())


def test_a_loop_that_nobody_has_started_is_not_late(monitor):
    assert (monitor.lag, monitor.stalled_seconds) == (0.0, 0.0)


def test_the_longest_delay_of_the_last_minute_is_shown_whatever_came_after_it(monitor, loop):
    measure(monitor, loop, 0.0, 3.0, 0.0, 0.25, 0.0)
    assert monitor.lag == 3.0


def test_a_delay_is_forgotten_after_a_minute(monitor, loop):
    measure(monitor, loop, 3.0, 0.5, *[0.0] * 57)
    assert monitor.lag == 3.0
    measure(monitor, loop, *[0.0] * 4)
    assert monitor.lag == 0.0


def test_who_asks_while_the_loop_is_late_is_told_the_delay_so_far(monitor, loop):
    seen = []
    loop.during = [lambda: seen.append((monitor.stalled_seconds, monitor.lag))]
    measure(monitor, loop, 7.0)
    assert seen == [(7.0, 7.0)]


def test_what_isnt_measured_any_more_is_not_stalled(monitor, loop):
    measure(monitor, loop, 0.0)
    loop.now += 1000
    assert monitor.stalled_seconds == 0.0


def test_a_long_turn_is_logged_and_a_short_one_is_not(monitor, loop, caplog):
    measure(monitor, loop, 4.9, 5.0)
    assert [record.seconds for record in caplog.records] == [5.0]
