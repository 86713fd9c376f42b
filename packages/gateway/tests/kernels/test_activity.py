import asyncio
import json
from types import SimpleNamespace

import pytest
from jupyter_client.session import Session

from enterprise_gateway.errors import Unavailable
from enterprise_gateway.kernels import activity, question
from enterprise_gateway.kernels.activity import ActivityMonitor
from enterprise_gateway.kernels.kernel import ExecutionState


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
        monitor, reader = ActivityMonitor(kernel=kernel), object()
        monitor.watched(reader)

        def see(message_type, request_type="execute_request", by=reader, request="1", **content):
            monitor.seen(by, message(message_type, request, request_type, **content))

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


def test_only_the_first_of_several_readers_is_believed(watched):
    kernel, see = watched()
    see("status", by=object(), execution_state="busy")
    assert kernel.execution_state == ExecutionState.IDLE


def test_what_is_no_message_changes_nothing_and_is_logged(watched, caplog):
    kernel, see = watched()
    see(["status"], execution_state="busy")
    assert (kernel.execution_state, kernel.idle_seconds) == (ExecutionState.IDLE, 100)
    assert "isn't a message" in caplog.text


def test_a_request_whose_header_only_python_can_read_counts(watched):
    kernel, see = watched()
    see("status", request="\ud800", execution_state="busy")
    assert kernel.execution_state == ExecutionState.BUSY


# ------------------------------------------------------------------------------------------------------ two readers


class Channel:
    """Stands for a ZeroMQ socket: what the kernel publishes comes when a test says so."""

    def __init__(self, *, socket, received):
        self.received = received
        self.sent = []
        socket.channel = self

    def send(self, frames):
        self.sent.append(frames)

    def close(self):
        pass


class Subscription:
    def __init__(self):
        self.is_on = True

    def subscribe(self, _topic):
        self.is_on = True

    def unsubscribe(self, _topic):
        self.is_on = False


@pytest.fixture
def reading(make_kernel, monkeypatch):
    """A kernel, its monitor, and the sockets that the monitor opened, by channel."""
    monkeypatch.setattr(activity, "ChannelSocket", Channel)
    monkeypatch.setattr(question, "ChannelSocket", Channel)
    kernel, sockets = make_kernel(), {}

    def open_socket(channel, _identity=None):
        sockets[channel] = Subscription()
        return sockets[channel]

    monkeypatch.setattr(kernel, "open_socket", open_socket)
    kernel.execution_state = ExecutionState.IDLE
    monitor = ActivityMonitor(kernel=kernel)
    monitor.follow()

    def publish(parts):
        subscription = sockets["iopub"]
        subscription.channel.received([b"<IDS|MSG>", kernel.session.sign(parts), *parts])

    return SimpleNamespace(kernel=kernel, monitor=monitor, sockets=sockets, publish=publish)


BUSY, IDLE = message("status", execution_state="busy"), message("status", execution_state="idle")


@pytest.mark.parametrize("first", ["monitor", "reader"])
def test_the_monitor_rests_only_when_it_and_a_reader_have_seen_the_same_message(reading, first):
    reader, subscription = object(), reading.sockets["iopub"]
    reading.monitor.watched(reader)
    tellers = [lambda: reading.publish(BUSY), lambda: reading.monitor.seen(reader, BUSY)]
    for tell in tellers if first == "monitor" else reversed(tellers):
        assert subscription.is_on
        tell()
    assert not subscription.is_on
    assert reading.kernel.execution_state == ExecutionState.BUSY
    reading.monitor.seen(reader, IDLE)
    assert reading.kernel.execution_state == ExecutionState.IDLE


def test_what_a_reader_had_read_before_it_was_asked_is_not_missed(reading):
    reading.monitor.watched(object())
    reading.publish(BUSY)
    assert reading.kernel.execution_state == ExecutionState.BUSY


def test_a_reader_that_leaves_before_the_monitor_rested_leaves_no_doubt(reading):
    reader = object()
    reading.monitor.watched(reader)
    reading.monitor.unwatched(reader)
    assert set(reading.sockets) == {"iopub"}


def test_a_new_process_has_nothing_to_do_with_what_the_one_before_worked_on(reading):
    reading.publish(BUSY)
    reading.monitor.follow()
    reading.kernel.follow_requests()
    assert reading.kernel.execution_state == ExecutionState.IDLE


# -------------------------------------------------------------------------------------------------------- questions


class _Story:
    """A kernel at the moment in which a reader gave its duty back."""

    def __init__(self, reading):
        self.kernel, self.monitor, self.publish = reading.kernel, reading.monitor, reading.publish
        self._sockets, reader = reading.sockets, object()
        self.monitor.watched(reader)
        for parts in (BUSY, IDLE):
            self.publish(parts)
            self.monitor.seen(reader, parts)
        assert not reading.sockets["iopub"].is_on
        self.monitor.unwatched(reader)
        assert reading.sockets["iopub"].is_on

    async def asked(self, times=1):
        while len(self._questions) < times:
            await asyncio.sleep(0)
        return self._questions[times - 1]

    @property
    def _questions(self):
        channel = getattr(self._sockets.get("shell"), "channel", None)
        return channel.sent if channel else []

    def say(self, state, asked):
        header = json.loads(asked[2])
        self.publish(message("status", header["msg_id"], header["msg_type"], execution_state=state))

    def reply(self, asked):
        session = Session(key=self.kernel.session.key)
        reply = session.msg("kernel_info_reply", {}, parent=json.loads(asked[2]))
        self._sockets["shell"].channel.received(session.serialize(reply))

    async def settled(self):
        while self.monitor._asking is not None:
            await asyncio.sleep(0)


@pytest.fixture
def given_back(reading, monkeypatch):
    """Return a function that runs a story of a monitor that asks."""
    monkeypatch.setattr(question, "_PATIENCE_SECONDS", 0.001)
    monkeypatch.setattr(question, "_FIRST_STATUS_SECONDS", 0.001)

    def run(steps):
        async def story():
            told = _Story(reading)
            await steps(told)
            reading.monitor.close()

        asyncio.run(story())

    return run


def test_a_kernel_that_does_not_answer_runs_something_that_nobody_saw_begin(given_back):
    async def steps(story):
        asked = await story.asked()
        while story.kernel.execution_state == ExecutionState.IDLE:
            await asyncio.sleep(0.001)
        assert story.kernel.execution_state == ExecutionState.BUSY
        story.say("busy", asked)
        assert story.kernel.execution_state == ExecutionState.IDLE
        story.reply(asked)
        await story.settled()

    given_back(steps)


def test_a_cell_that_begins_behind_the_question_is_not_ended_by_its_reply(given_back):
    async def steps(story):
        asked = await story.asked()
        story.say("busy", asked)
        story.say("idle", asked)
        story.publish(message("status", "next", execution_state="busy"))
        story.reply(asked)
        await story.settled()
        assert story.kernel.execution_state == ExecutionState.BUSY

    given_back(steps)


def test_a_cell_of_a_subshell_is_not_ended_by_an_answer_of_the_main_shell(given_back):
    async def steps(story):
        parts = message("status", "beside", execution_state="busy")
        parts[1] = json.dumps({"msg_id": "beside", "msg_type": "execute_request", "subshell_id": "s"}).encode()
        story.publish(parts)
        asked = await story.asked()
        story.say("busy", asked)
        story.say("idle", asked)
        story.reply(asked)
        await story.settled()
        assert story.kernel.execution_state == ExecutionState.BUSY

    given_back(steps)


def test_a_kernel_whose_statuses_did_not_arrive_is_asked_again_and_in_the_end_believed_its_reply(given_back):
    async def steps(story):
        story.publish(message("status", "lost idle", execution_state="busy"))
        for times in range(1, question._MOST_TIMES + 1):
            assert story.kernel.execution_state == ExecutionState.BUSY
            story.reply(await story.asked(times))
        await story.settled()
        assert story.kernel.execution_state == ExecutionState.IDLE

    given_back(steps)


def test_a_reply_that_is_signed_with_another_key_is_none(given_back):
    async def steps(story):
        asked = await story.asked()
        forged = Session(key=b"another")
        story._sockets["shell"].channel.received(forged.serialize(forged.msg("kernel_info_reply", parent=json.loads(asked[2]))))
        await asyncio.sleep(0)
        assert story.monitor._asking is not None

    given_back(steps)


def test_a_busy_kernel_that_cannot_be_asked_stays_busy_and_can_be_asked_later(make_kernel, monkeypatch, caplog):
    kernel = make_kernel()
    kernel.execution_state = ExecutionState.IDLE
    kernel.adopted()

    def refused(_channel, _identity=None):
        raise Unavailable("No more sockets.")

    monkeypatch.setattr(kernel, "open_socket", refused)

    async def run():
        monitor = ActivityMonitor(kernel=kernel)
        for _ in range(2):
            monitor.ask()
            await monitor._asking

    asyncio.run(run())
    assert kernel.execution_state == ExecutionState.BUSY
    assert [record.cause for record in caplog.records] == ["No more sockets."] * 2
