import json

import pytest

from enterprise_gateway.kernels.activity import ActivityMonitor
from enterprise_gateway.kernels.kernel import ExecutionState


@pytest.fixture
def watched(make_kernel, clock):
    """Return a function that makes a kernel which has been idle for 100 seconds, and one that lets its monitor see a message."""

    def make(state=ExecutionState.IDLE):
        kernel = make_kernel()
        kernel.execution_state = state
        clock.now += 100
        monitor, reader = ActivityMonitor(kernel=kernel), object()
        monitor.watched(reader)

        def see(message_type, parent_type="execute_request", by=reader, **content):
            parts = [{"msg_type": message_type}, {"msg_type": parent_type}, {}, content]
            monitor.seen(by, [json.dumps(part).encode() for part in parts])

        return kernel, see

    return make


def test_a_cell_makes_a_kernel_busy_and_idle_again_and_is_activity(watched):
    kernel, see = watched()
    see("status", execution_state="busy")
    assert (kernel.execution_state, kernel.idle_seconds) == (ExecutionState.BUSY, 0)
    see("status", execution_state="idle")
    assert kernel.execution_state == ExecutionState.IDLE


@pytest.mark.parametrize("asked", ["kernel_info_request", "comm_info_request", "debug_request", "interrupt_request"])
def test_what_clients_ask_without_anybody_at_work_is_neither_activity_nor_work(watched, asked):
    kernel, see = watched()
    see("status", asked, execution_state="busy")
    see("status", asked, execution_state="idle")
    assert (kernel.execution_state, kernel.idle_seconds) == (ExecutionState.IDLE, 100)


def test_whatever_a_busy_kernel_publishes_is_activity(watched):
    kernel, see = watched(ExecutionState.BUSY)
    see("status", "kernel_info_request", execution_state="idle")
    assert (kernel.execution_state, kernel.idle_seconds) == (ExecutionState.BUSY, 0)


def test_a_kernel_that_starts_is_idle_at_the_end_of_its_first_answer_and_not_before(watched):
    kernel, see = watched(ExecutionState.STARTING)
    for state in ("starting", "busy"):
        see("status", "kernel_info_request", execution_state=state)
        assert kernel.execution_state == ExecutionState.STARTING
    see("status", "kernel_info_request", execution_state="idle")
    assert kernel.execution_state == ExecutionState.IDLE


@pytest.mark.parametrize("state", [ExecutionState.DEAD, ExecutionState.RESTARTING])
def test_a_message_that_was_still_under_way_ends_no_state_of_the_gateways_own(watched, state):
    kernel, see = watched(state)
    see("status", execution_state="idle")
    assert kernel.execution_state == state


def test_only_the_first_of_several_readers_is_believed(watched):
    kernel, see = watched()
    see("status", by=object(), execution_state="busy")
    assert kernel.execution_state == ExecutionState.IDLE


def test_what_is_no_message_changes_nothing_and_is_logged(watched, caplog):
    kernel, see = watched()
    see(["status"], execution_state="busy")
    assert (kernel.execution_state, kernel.idle_seconds) == (ExecutionState.IDLE, 100)
    assert "isn't a message" in caplog.text
