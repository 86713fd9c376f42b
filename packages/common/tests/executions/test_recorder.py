"""The record of a kernel's executions, from messages alone."""

import json

import nbformat
import pytest

from enterprise_gateway_common.executions.notebook import describe, notebook
from enterprise_gateway_common.executions.recorder import ExecutionRecorder


class Played:
    """A recorder, and a kernel and clients that do as they are told."""

    def __init__(self, **bounds):
        self.now = 1_700_000_000.0
        self.bytes = 0
        self.recorder = ExecutionRecorder(
            **{"max_executions": 10, "max_bytes": 1 << 20, **bounds},
            clock=lambda: self.now,
            size_changed=self.count,
        )

    def count(self, change):
        self.bytes += change

    def ask(self, name, code="1", metadata=None, **more):
        content = json.dumps({"code": code, "silent": False, **more}).encode()
        self.recorder.requested("execute_request", name, content=content, metadata=json.dumps(metadata or {}).encode())

    def say(self, name, kind, content=None, *, channel="iopub", parent_type="execute_request"):
        raw = json.dumps(content or {}).encode()
        self.recorder.seen(channel, kind, parent_id=name, parent_type=parent_type, content=raw)

    def status(self, name, state):
        self.say(name, "status", {"execution_state": state})

    def reply(self, name, status="ok"):
        self.say(name, "execute_reply", {"status": status, "execution_count": 1}, channel="shell")

    def write(self, name, text):
        self.say(name, "stream", {"name": "stdout", "text": text})

    def display(self, name, text, display_id, kind="display_data"):
        self.say(name, kind, {"data": {"text/plain": text}, "metadata": {}, "transient": {"display_id": display_id}})

    def run(self, name, text="", code="1"):
        self.ask(name, code)
        self.status(name, "busy")
        self.say(name, "execute_input", {"code": code, "execution_count": 3})
        self.write(name, text)
        self.reply(name)
        self.status(name, "idle")

    def state(self, name):
        return self.recorder.get(name).state

    def text(self, name):
        return "".join(output["text"] for output in self.recorder.get(name).outputs())


@pytest.fixture
def played():
    return Played()


def test_an_execution_is_queued_then_runs_then_has_ended_with_its_replys_word(played):
    played.ask("a", "print(1)", {"cellId": "cell"})
    assert played.state("a") == "queued"
    played.now += 1
    played.status("a", "busy")
    assert played.state("a") == "running"
    played.say("a", "execute_input", {"code": "print(1)", "execution_count": 3})
    played.write("a", "1\n")
    played.now += 1
    played.reply("a")
    assert played.state("a") == "running"
    played.status("a", "idle")
    assert describe(played.recorder.get("a")) == {
        "msg_id": "a",
        "state": "ok",
        "code": "print(1)",
        "execution_count": 3,
        "silent": False,
        "metadata": {"cellId": "cell"},
        "requested": "2023-11-14T22:13:20.000000Z",
        "started": "2023-11-14T22:13:21.000000Z",
        "ended": "2023-11-14T22:13:22.000000Z",
        "truncated": False,
    }
    assert played.text("a") == "1\n"


def test_an_idle_that_comes_before_the_reply_ends_nothing(played):
    played.ask("a")
    played.status("a", "busy")
    played.status("a", "idle")
    assert played.state("a") == "running"
    played.reply("a", "error")
    assert played.state("a") == "error"


def test_a_lost_idle_is_made_up_for_by_the_next_cell(played):
    for name in "ab":
        played.ask(name)
        played.status(name, "busy")
        played.reply(name)
    assert (played.state("a"), played.state("b")) == ("ok", "running")


def test_what_the_kernel_skipped_was_aborted(played):
    played.ask("a")
    played.reply("a", "aborted")
    assert played.state("a") == "aborted"


def test_an_execution_that_another_replicas_client_asked_for_is_known_by_what_the_kernel_says(played):
    played.status("a", "busy")
    played.say("a", "execute_input", {"code": "1/0", "execution_count": 2})
    played.say("a", "error", {"ename": "ZeroDivisionError", "evalue": "", "traceback": []})
    played.status("a", "idle")
    execution = played.recorder.get("a")
    assert (execution.state, execution.code, execution.execution_count, execution.truncated) == ("error", "1/0", 2, False)


def test_one_whose_beginning_nobody_saw_is_marked(played):
    played.write("a", "in the middle")
    assert (played.state("a"), played.recorder.get("a").truncated) == ("running", True)


def test_messages_that_belong_to_no_execution_mean_nothing(played):
    played.say("q", "status", {"execution_state": "busy"}, parent_type="kernel_info_request")
    played.say("", "stream", {"name": "stdout", "text": "x"}, parent_type="")
    played.recorder.requested("complete_request", "c", content=b"{}", metadata=b"{}")
    played.status("late", "idle")
    played.reply("unknown")
    assert played.recorder.all() == []


def test_a_kernel_that_ends_ends_what_runs_with_the_error_and_what_waits_without_output(played):
    played.run("done", "text")
    played.ask("runs")
    played.status("runs", "busy")
    played.ask("waits")
    played.recorder.kernel_ended("DeadKernelError", "Out of memory.")
    assert [played.state(name) for name in ("done", "runs", "waits")] == ["ok", "error", "error"]
    (error,) = played.recorder.get("runs").outputs()
    assert (error["ename"], error["evalue"]) == ("DeadKernelError", "Out of memory.")
    assert played.recorder.get("waits").outputs() == []


def test_an_error_that_clients_were_sent_isnt_shown_twice(played):
    played.ask("runs")
    played.status("runs", "busy")
    played.say("runs", "error", {"ename": "DeadKernelError", "evalue": "", "traceback": []})
    played.recorder.kernel_ended("DeadKernelError", "")
    assert len(played.recorder.get("runs").outputs()) == 1


def test_errors_of_user_code_are_hidden_where_they_must_be_and_what_became_of_the_kernel_never(played):
    instead = {"ename": "Hidden", "evalue": "", "traceback": []}
    for name in "abc":
        played.ask(name)
        played.status(name, "busy")
        played.write(name, "text")
    # User code may give its error any name.
    own = {"ename": "DeadKernelError", "evalue": "secret", "traceback": ["secret"]}
    played.say("a", "error", own)
    answer = json.dumps({"ename": "DeadKernelError", "evalue": "died", "traceback": []}).encode()
    played.recorder.seen("iopub", "error", parent_id="b", parent_type="execute_request", content=answer, by_kernel=False)
    played.recorder.kernel_ended("DeadKernelError", "died")
    shown = {name: played.recorder.get(name).outputs(error_instead=instead) for name in "abc"}
    assert {name: outputs[0]["text"] for name, outputs in shown.items()} == dict.fromkeys("abc", "text")
    assert {name: outputs[-1]["evalue"] for name, outputs in shown.items()} == {"a": "", "b": "died", "c": "died"}
    assert played.recorder.get("a").outputs()[-1]["evalue"] == "secret"
    assert all(len(outputs) == 2 for outputs in shown.values())


def test_a_cell_updates_what_another_one_has_shown(played):
    played.run("a")
    played.display("a", "old", "shown")
    played.ask("b")
    played.display("b", "new", "shown", kind="update_display_data")
    assert played.recorder.get("a").outputs()[-1]["data"] == {"text/plain": "new"}
    assert played.recorder.get("b").outputs() == []


def test_a_request_that_is_sent_again_stands_for_the_new_one(played):
    played.run("a", "old")
    played.ask("a", "2")
    assert (played.state("a"), played.recorder.get("a").code, played.text("a")) == ("queued", "2", "")


# --------------------------------------------------------------------------------------------------------------- bounds


def test_the_oldest_that_has_ended_goes_where_there_are_too_many():
    played = Played(max_executions=3)
    played.ask("waits")
    for name in "abcd":
        played.run(name)
    assert [execution.msg_id for execution in played.recorder.all()] == ["waits", "c", "d"]


def test_nothing_is_recorded_where_nothing_may_be():
    played = Played(max_executions=0)
    played.run("a", "text")
    assert (played.recorder.all(), played.bytes) == ([], 0)


def test_the_oldest_outputs_go_first_and_say_so():
    played = Played(max_bytes=100_000)
    for name in "abcdef":
        played.run(name, name * 20_000)
    assert played.recorder.size <= 100_000
    lost = [execution.msg_id for execution in played.recorder.all() if execution.truncated]
    assert lost == sorted(lost)
    assert "f" not in lost
    assert "a" in lost
    assert played.text("f") == "f" * 20_000
    assert "left out" in played.text("a")


def test_one_that_is_alone_too_large_keeps_its_beginning_and_its_end():
    played = Played(max_bytes=100_000)
    played.ask("a")
    for number in range(50_000):
        played.write("a", f"line {number}\n")
        assert played.recorder.size <= 100_000
    text = played.text("a")
    assert text.startswith("line 0\nline 1\n")
    assert text.endswith("line 49999\n")
    assert "characters left out" in text
    assert len(text) > 30_000
    assert played.recorder.get("a").truncated


def test_an_output_that_is_larger_than_there_is_room_for_leaves_its_size():
    played = Played(max_bytes=100_000)
    played.ask("a")
    played.display("a", "x" * 30_000, "a")
    assert "[… an output of 300" in played.text("a")
    assert played.recorder.get("a").truncated


def test_text_in_one_large_message_keeps_its_beginning_and_its_end():
    played = Played(max_bytes=100_000)
    played.ask("a")
    played.write("a", "begin" + "x" * 1_000_000 + "end")
    text = played.text("a")
    assert text.startswith("begin")
    assert text.endswith("end")
    assert "left out" in text
    assert played.recorder.size <= 100_000


def test_a_progress_bar_costs_what_it_shows():
    played = Played(max_bytes=200_000)
    played.run("before", "kept")
    played.ask("a")
    for number in range(20_000):
        played.write("a", f"\r{number:6} of 20000")
    assert played.text("before") == "kept"
    assert not played.recorder.get("a").truncated
    assert played.text("a") == " 19999 of 20000"


def test_code_and_metadata_are_bounded(played):
    played.ask("a", "x" * 200_000, {"note": "y" * 20_000})
    execution = played.recorder.get("a")
    assert execution.truncated
    assert len(execution.code) == 128 * 1024
    assert execution.metadata == {}


def test_many_long_codes_are_bounded_together():
    played = Played(max_bytes=1 << 20, max_executions=100)
    for number in range(100):
        played.run(str(number), code="x" * 100_000)
    assert played.recorder.size <= 1 << 20
    assert played.recorder.get("99") is not None


def test_what_is_counted_is_given_back():
    played = Played(max_bytes=100_000)
    for number in range(30):
        played.run(str(number), "text" * 2000)
        played.display(str(number), "shown", "a")
    assert played.bytes == played.recorder.size > 0
    played.recorder.clear()
    assert (played.bytes, played.recorder.size, played.recorder.all()) == (0, 0, [])


# ------------------------------------------------------------------------------------------------------------- watching


def test_who_watches_is_told_of_each_change_until_the_execution_is_gone(played):
    told = []

    def watcher():
        told.append(1)

    played.ask("a")
    played.recorder.watch("a", watcher)
    played.write("a", "1")
    played.write("b", "2")
    assert len(told) == 1
    played.recorder.clear()
    assert len(told) == 2
    played.recorder.unwatch("a", watcher)
    played.ask("a")
    assert len(told) == 2


# ------------------------------------------------------------------------------------------------------------- notebook


def test_a_notebook_has_a_cell_for_each_execution_and_is_valid(played):
    played.ask("a", "x", {"cellId": "cell-1"})
    played.write("a", "1")
    played.ask("b", "x", {"cellId": "cell-1"})
    played.ask("c/é", "y", {"cellId": "not an id"})
    played.ask("d", "z", silent=True)
    made = notebook(played.recorder.all(), kernelspec={"name": "python3", "display_name": "Python", "language": "python"})
    nbformat.validate(nbformat.from_dict(made))
    assert [cell["id"] for cell in made["cells"]] == ["cell-1", "b", "execution-1"]
    assert [cell["source"] for cell in made["cells"]] == ["x", "x", "y"]
    assert made["cells"][0]["metadata"]["enterprise_gateway"]["metadata"] == {"cellId": "cell-1"}
