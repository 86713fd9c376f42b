from datetime import datetime, timedelta

import pytest

from enterprise_gateway.kernels.culling import CullingRules, cull_reason, unclaimed_kernels
from enterprise_gateway.kernels.kernel import ExecutionState


def rules(idle_timeout=60, *, connected=False, busy=False):
    return CullingRules(idle_timeout=idle_timeout, connected=connected, busy=busy)


@pytest.fixture
def old(make_kernel, clock):
    """Return a function that makes a kernel which has been idle for 100 seconds."""

    def make(state=ExecutionState.IDLE, connections=0, **metadata):
        kernel = make_kernel(**metadata)
        kernel.execution_state, kernel.connections = state, connections
        clock.now += 100
        return kernel

    return make


def test_a_kernel_that_was_idle_for_the_timeout_is_culled(old):
    assert cull_reason(old(), rules(100)) is not None
    assert cull_reason(old(), rules(101)) is None


@pytest.mark.parametrize("step", [timedelta(days=-365), timedelta(days=365)])
def test_a_step_of_the_time_of_day_neither_culls_nor_spares(old, monkeypatch, step):
    class Stepped(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + step

    used, unused = old(), old()
    monkeypatch.setattr("enterprise_gateway.kernels.kernel.datetime", Stepped)
    used.touch()
    assert cull_reason(used, rules(100)) is None
    assert cull_reason(unused, rules(100)) is not None


def test_no_timeout_culls_nothing(old):
    assert cull_reason(old(), rules(0)) is None


def test_connected_kernels_are_culled_only_when_allowed(old):
    assert cull_reason(old(connections=1), rules()) is None
    assert cull_reason(old(connections=1), rules(connected=True)) is not None


def test_busy_kernels_are_culled_only_when_allowed(old):
    assert cull_reason(old(ExecutionState.BUSY), rules()) is None
    assert cull_reason(old(ExecutionState.BUSY), rules(busy=True)) is not None


def test_dead_kernels_are_culled(old):
    assert cull_reason(old(ExecutionState.DEAD), rules()) is not None


@pytest.mark.parametrize("state", [ExecutionState.STARTING, ExecutionState.RESTARTING])
def test_kernels_under_way_stay(old, state):
    assert cull_reason(old(state), rules(connected=True, busy=True)) is None


def test_a_kernelspecs_own_timeout_takes_the_place_of_the_administrators(old):
    assert cull_reason(old(cull_idle_timeout=200), rules()) is None
    assert cull_reason(old(cull_idle_timeout=50), rules(0)) is not None
    assert cull_reason(old(cull_idle_timeout=0), rules()) is None


@pytest.mark.parametrize("written", ["60", -1, True, [], {}])
def test_a_timeout_that_is_no_number_of_seconds_leaves_the_administrators(old, written):
    assert cull_reason(old(cull_idle_timeout=written), rules()) is not None


def test_every_use_of_the_kernels_language_begins_the_time_anew(old):
    for use in ("execute_request", "comm_msg", "input_reply"):
        kernel = old()
        kernel.client_message(use)
        assert cull_reason(kernel, rules(connected=True)) is None


@pytest.mark.parametrize("poll", ["kernel_info_request", "comm_info_request", "debug_request", "usage_request"])
def test_polls_and_connections_keep_no_kernel_where_connected_ones_are_culled(old, poll):
    kernel = old()
    kernel.client_connected()
    kernel.client_message(poll)
    kernel.client_disconnected()
    assert cull_reason(kernel, rules(connected=True)) is not None


def test_a_client_whose_line_was_lost_has_the_timeout_to_come_back(old, clock):
    kernel = old()
    kernel.client_connected()
    clock.now += 100
    kernel.client_disconnected()
    assert cull_reason(kernel, rules()) is None
    clock.now += 60
    assert cull_reason(kernel, rules()) is not None


@pytest.mark.parametrize(
    ("state", "expected", "claimed", "found"),
    [
        ("idle", 100, False, True),
        ("busy", 100, False, True),
        ("idle", 101, False, False),
        ("idle", 100, True, False),
        ("idle", None, False, False),
        ("starting", 100, False, False),
        ("dead", 100, False, False),
    ],
    ids=["nobody came", "busy with nobody", "in time still", "somebody came", "not answered early", "starts", "dead"],
)
def test_a_kernel_is_unclaimed_that_is_up_and_that_nobody_came_back_for_in_time(
    make_kernel, clock, state, expected, claimed, found
):
    kernel = make_kernel()
    if expected is not None:
        kernel.expect_claim(expected)
    if claimed:
        kernel.claim()
    kernel.execution_state = ExecutionState(state)
    clock.now += 100
    assert [kernel for kernel, _ in unclaimed_kernels([kernel])] == [kernel] * found
