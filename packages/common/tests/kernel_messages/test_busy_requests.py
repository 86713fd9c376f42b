import random
import tracemalloc

import pytest

from enterprise_gateway_common.kernel_messages.busy_requests import BusyRequests


class Kernel:
    """What a kernel publishes, in short."""

    def __init__(self):
        self.requests = BusyRequests()

    def busy(self, request, kind="execute_request", subshell=None):
        self.requests.status("busy", request_id=request, request_type=kind, subshell=subshell)

    def idle(self, request, kind="execute_request", subshell=None):
        self.requests.status("idle", request_id=request, request_type=kind, subshell=subshell)

    @property
    def is_busy(self):
        return bool(self.requests)


@pytest.fixture
def kernel():
    return Kernel()


def test_a_kernel_is_busy_from_a_requests_busy_to_its_idle(kernel):
    assert not kernel.is_busy
    kernel.busy("a")
    assert kernel.is_busy
    kernel.idle("a")
    assert not kernel.is_busy


@pytest.mark.parametrize(
    "kind",
    ["usage_request", "list_subshell_request", "create_subshell_request", "debug_request", "kernel_info_request", "comm_msg"],
)
def test_a_request_that_ends_beside_a_cell_leaves_the_kernel_busy(kernel, kind):
    kernel.busy("cell")
    kernel.busy("other", kind)
    kernel.idle("other", kind)
    assert kernel.is_busy


def test_a_poll_makes_no_kernel_busy(kernel):
    kernel.busy("poll", "usage_request")
    assert not kernel.is_busy


def test_cells_of_several_subshells_each_end_by_themselves(kernel):
    for cell, subshell in (("a", None), ("b", "1"), ("c", "2")):
        kernel.busy(cell, subshell=subshell)
    for cell in "bac":
        assert kernel.is_busy
        kernel.idle(cell)
    assert not kernel.is_busy


def test_statuses_of_no_request_belong_together_and_may_come_again(kernel):
    for _ in range(2):
        kernel.busy("", "")
        assert kernel.is_busy
        kernel.idle("", "")
        assert not kernel.is_busy


def test_an_idle_of_no_request_ends_no_other(kernel):
    kernel.busy("cell")
    kernel.idle("", "")
    assert kernel.is_busy


def test_what_is_told_twice_or_late_changes_nothing(kernel):
    kernel.busy("a")
    kernel.busy("a")
    kernel.idle("a")
    kernel.busy("a")
    assert not kernel.is_busy


def test_an_idle_that_was_lost_is_made_up_for_by_the_reply_and_the_next_status(kernel):
    kernel.busy("a")
    kernel.requests.replied("a")
    assert kernel.is_busy
    kernel.busy("poll", "usage_request")
    assert not kernel.is_busy


def test_a_reply_to_what_never_said_busy_means_nothing(kernel):
    kernel.requests.replied("a")
    kernel.busy("a")
    kernel.busy("b")
    kernel.idle("b")
    assert kernel.is_busy


def test_where_the_main_shell_came_to_a_later_request_only_subshells_may_still_run(kernel):
    kernel.busy("main")
    kernel.requests.reached()
    assert not kernel.is_busy
    kernel.busy("beside", subshell="1")
    kernel.requests.reached()
    assert kernel.is_busy


def test_a_kernel_whose_past_is_unknown_is_busy_until_it_has_been_reached(kernel):
    kernel.requests.assume()
    kernel.busy("a")
    kernel.idle("a")
    assert kernel.is_busy
    kernel.requests.reached()
    assert not kernel.is_busy


def test_a_kernel_that_ended_is_busy_with_nothing(kernel):
    kernel.requests.assume()
    kernel.busy("a")
    kernel.requests.replied("a")
    kernel.requests.clear()
    assert not kernel.is_busy
    kernel.busy("a")
    assert kernel.is_busy


def test_other_states_mean_nothing(kernel):
    kernel.requests.status("starting", request_id="", request_type="")
    assert not kernel.is_busy


def test_no_kernel_makes_it_grow(kernel):
    tracemalloc.start()
    try:
        for number in range(5_000):
            name = f"{number}" + "x" * 10_000
            kernel.busy(name, subshell=name)
            kernel.busy(f"ended {number}")
            kernel.requests.replied(f"ended {number}")
            kernel.idle(f"ended {number}")
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
    assert len(kernel.requests) <= 1024


def test_two_readers_that_overlap_agree_with_what_is_open():
    chance = random.Random(7)  # noqa: S311 - a test's order
    for _ in range(200):
        kernel, requests = Kernel(), [f"{number}" for number in range(6)]
        open_at_the_end = {request for request in requests if chance.random() < 0.3}
        story = []
        for request in requests:
            story.append((kernel.busy, request))
            if request not in open_at_the_end:
                story.append((kernel.idle, request))
        # The one reader is at any place behind the other, and both tell everything.
        behind, ahead = list(story), list(story)
        while behind or ahead:
            tell, request = (ahead if ahead and (not behind or chance.random() < 0.7) else behind).pop(0)
            tell(request)
        assert len(kernel.requests) == len(open_at_the_end)
