import asyncio
import json

import pytest

from enterprise_gateway.errors import Unavailable
from enterprise_gateway.kernels import question
from enterprise_gateway.kernels.activity import ActivityMonitor
from enterprise_gateway.kernels.kernel import ExecutionState
from enterprise_gateway.links.messages import KernelMessage


def message(message_type, request="1", request_type="execute_request", **content):
    header = {"msg_type": message_type, "msg_id": f"{message_type} {request} {content}"}
    parts = [header, {"msg_type": request_type, "msg_id": request}, {}, content]
    return [json.dumps(part).encode() for part in parts]


@pytest.fixture
def watched(make_kernel, clock):
    """Return a function that makes a kernel which has been idle for 100 seconds, and one that lets its monitor see a message."""

    def make(state=ExecutionState.IDLE):
        kernel = make_kernel()
        kernel.execution_state = state
        clock.now += 100
        ActivityMonitor(kernel=kernel)

        def see(message_type, request_type="execute_request", request="1", **content):
            kernel.link.append(KernelMessage("iopub", message(message_type, request, request_type, **content)))

        return kernel, see

    return make


def test_a_cell_makes_a_kernel_busy_and_idle_again_and_is_activity(watched):
    kernel, see = watched()
    see("status", execution_state="busy")
    assert (kernel.execution_state, kernel.idle_seconds) == (ExecutionState.BUSY, 0)
    see("status", execution_state="idle")
    assert kernel.execution_state == ExecutionState.IDLE


@pytest.mark.parametrize(
    "asked", ["kernel_info_request", "comm_info_request", "debug_request", "interrupt_request", "usage_request"]
)
def test_what_clients_ask_without_anybody_at_work_is_neither_activity_nor_work(watched, asked):
    kernel, see = watched()
    see("status", asked, execution_state="busy")
    see("status", asked, execution_state="idle")
    assert (kernel.execution_state, kernel.idle_seconds) == (ExecutionState.IDLE, 100)


@pytest.mark.parametrize("asked", ["usage_request", "list_subshell_request", "comm_msg", "execute_request"])
def test_the_end_of_one_request_leaves_a_kernel_busy_with_another(watched, asked):
    kernel, see = watched()
    see("status", request="cell", execution_state="busy")
    see("status", asked, request="other", execution_state="busy")
    see("status", asked, request="other", execution_state="idle")
    assert kernel.execution_state == ExecutionState.BUSY


def test_a_poll_of_a_busy_kernel_is_no_activity(watched, clock):
    kernel, see = watched()
    see("status", execution_state="busy")
    clock.now += 50
    see("status", "usage_request", request="poll", execution_state="idle")
    assert (kernel.execution_state, kernel.idle_seconds) == (ExecutionState.BUSY, 50)


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


def test_a_restarted_kernel_that_works_for_somebody_already_is_busy(watched):
    kernel, see = watched(ExecutionState.RESTARTING)
    see("status", execution_state="busy")
    kernel.restarted()
    assert kernel.execution_state == ExecutionState.BUSY


def test_what_is_no_message_changes_nothing_and_is_logged(watched, caplog):
    kernel, see = watched()
    see("status", execution_state=["busy"])
    assert (kernel.execution_state, kernel.idle_seconds) == (ExecutionState.IDLE, 100)
    assert "isn't a message" in caplog.text


def test_a_request_whose_header_only_python_can_read_counts(watched):
    kernel, see = watched()
    see("status", request="\ud800", execution_state="busy")
    assert kernel.execution_state == ExecutionState.BUSY


# -------------------------------------------------------------------------------------------------------- questions


class Story:
    """A kernel whose output may have been missed: its monitor asks, and a test plays what the kernel says."""

    def __init__(self, kernel, monkeypatch):
        self.kernel, self.questions, self._asked = kernel, [], asyncio.Event()
        monkeypatch.setattr(kernel.link, "ask_kernel_info", self._ask)
        kernel.execution_state = ExecutionState.IDLE
        self.monitor = ActivityMonitor(kernel=kernel)

    async def _ask(self, *, again):
        assert not again
        self.questions.append(asyncio.get_running_loop().create_future())
        self._asked.set()
        return await self.questions[-1]

    async def asked(self, times=1):
        while len(self.questions) < times:
            self._asked.clear()
            await self._asked.wait()
        return self.questions[times - 1]

    def say(self, state, request="the question", **parent):
        parts = message("status", request, execution_state=state)
        if parent:
            parts[1] = json.dumps({"msg_id": request, "msg_type": "execute_request", **parent}).encode()
        self.kernel.link.append(KernelMessage("iopub", parts))

    def say_of_the_question(self, state):
        self.say(state, msg_type="kernel_info_request", session=self.kernel.link.session.session)

    async def settled(self):
        while self.monitor._asking is not None:
            await asyncio.sleep(0)


@pytest.fixture
def story(make_kernel, monkeypatch):
    """Return a function that runs a story of a monitor that asks."""
    monkeypatch.setattr(question, "_PATIENCE_SECONDS", 0.001)
    monkeypatch.setattr(question, "_FIRST_STATUS_SECONDS", 0.001)

    def run(steps):
        async def told():
            one = Story(make_kernel(), monkeypatch)
            one.monitor.ask()
            await steps(one)
            one.monitor.ask_no_more()

        asyncio.run(told())

    return run


def test_a_kernel_that_does_not_answer_runs_something_that_nobody_saw_begin(story):
    async def steps(told):
        asked = await told.asked()
        while told.kernel.execution_state == ExecutionState.IDLE:
            await asyncio.sleep(0)
        assert told.kernel.execution_state == ExecutionState.BUSY
        told.say_of_the_question("busy")
        assert told.kernel.execution_state == ExecutionState.IDLE
        asked.set_result({})
        await told.settled()

    story(steps)


def test_a_cell_that_begins_behind_the_question_is_not_ended_by_its_reply(story):
    async def steps(told):
        asked = await told.asked()
        told.say_of_the_question("busy")
        told.say_of_the_question("idle")
        told.say("busy", "next")
        asked.set_result({})
        await told.settled()
        assert told.kernel.execution_state == ExecutionState.BUSY

    story(steps)


def test_a_cell_of_a_subshell_is_not_ended_by_an_answer_of_the_main_shell(story):
    async def steps(told):
        told.say("busy", "beside", subshell_id="s")
        asked = await told.asked()
        told.say_of_the_question("busy")
        told.say_of_the_question("idle")
        asked.set_result({})
        await told.settled()
        assert told.kernel.execution_state == ExecutionState.BUSY

    story(steps)


def test_a_kernel_whose_statuses_did_not_arrive_is_asked_again_and_in_the_end_believed_its_reply(story):
    async def steps(told):
        told.say("busy", "lost idle")
        for times in range(1, question._MOST_TIMES + 1):
            assert told.kernel.execution_state == ExecutionState.BUSY
            (await told.asked(times)).set_result({})
        await told.settled()
        assert told.kernel.execution_state == ExecutionState.IDLE

    story(steps)


def test_a_request_whose_reply_was_seen_ends_at_the_next_status(watched):
    kernel, see = watched()
    see("status", request="lost idle", execution_state="busy")
    kernel.link.append(KernelMessage("shell", message("execute_reply", "lost idle")))
    assert kernel.execution_state == ExecutionState.BUSY
    see("status", request="next", execution_state="busy")
    see("status", request="next", execution_state="idle")
    assert kernel.execution_state == ExecutionState.IDLE


def test_a_new_process_has_nothing_to_do_with_what_the_one_before_worked_on(watched, monkeypatch):
    kernel, see = watched()
    see("status", execution_state="busy")
    monkeypatch.setattr(kernel.link, "connect", lambda _info, **_: None)
    kernel.connect()
    kernel.follow_requests()
    assert kernel.execution_state == ExecutionState.IDLE


def test_a_busy_kernel_that_cannot_be_asked_stays_busy_and_can_be_asked_later(make_kernel, monkeypatch, caplog):
    kernel = make_kernel()
    kernel.execution_state = ExecutionState.IDLE
    kernel.adopted()

    async def refused(**_how):
        raise Unavailable("No more sockets.")

    monkeypatch.setattr(kernel.link, "ask_kernel_info", refused)

    async def run():
        monitor = ActivityMonitor(kernel=kernel)
        for _ in range(2):
            monitor.ask()
            await monitor._asking

    asyncio.run(run())
    assert kernel.execution_state == ExecutionState.BUSY
    assert [record.cause for record in caplog.records] == ["No more sockets."] * 2
