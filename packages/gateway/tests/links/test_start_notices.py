"""What clients are told of a kernel that isn't up, by a clock that a test moves."""

import json

import pytest
from jupyter_client.session import Session

from enterprise_gateway.links.messages import Header
from enterprise_gateway.links.requests import HeldMessage
from enterprise_gateway.links.start_notices import StartNotices, Told


class Timer:
    def __init__(self, due, callback):
        self.due, self.callback = due, callback

    def cancel(self):
        self.due = float("inf")


class Kit:
    """Notices with clients that may be away."""

    def __init__(self):
        self.now, self.timers, self.shown, self.away = 0.0, [], [], set()
        self.state, self.words = Told.STARTING, "Waiting for a node: 0/3 nodes are available"
        session = Session(key=b"key")
        self.notices = StartNotices(
            session=lambda: session,
            state=lambda: self.state,
            words=lambda: self.words,
            show=self.show,
            call_later=self.call_later,
        )

    def call_later(self, seconds, callback):
        self.timers.append(Timer(self.now + seconds, callback))
        return self.timers[-1]

    def show(self, session_id, message):
        if session_id in self.away:
            return False
        parent, content = (json.loads(part) for part in (message.parts[1], message.parts[3]))
        what = content.get("execution_state") or content.get("data", {}).get("text/plain") or content.get("wait")
        self.shown.append((session_id, parent.get("msg_id"), message.header.msg_type, what))
        return True

    def pass_seconds(self, seconds):
        self.now += seconds
        due = [timer for timer in self.timers if timer.due <= self.now]
        self.timers = [timer for timer in self.timers if timer.due > self.now]
        for timer in due:
            timer.callback()

    def waits(self, msg_id, session_id="one", kind="execute_request", **content):
        header = {"msg_id": msg_id, "msg_type": kind}
        parts = [json.dumps(part).encode() for part in (header, {}, {}, {"code": "1", **content})]
        self.notices.waits(HeldMessage("shell", Header(msg_id, kind), parts, session_id))

    def taken(self):
        shown, self.shown = self.shown, []
        return shown


@pytest.fixture
def kit():
    return Kit()


def line(text, msg_id="a", session_id="one"):
    """What a client is sent that is to show a line: the line, and that the next output takes its place."""
    return [(session_id, msg_id, "display_data", text), (session_id, msg_id, "clear_output", True)]


def cleared(msg_id="a", session_id="one"):
    return [(session_id, msg_id, "clear_output", False)]


def test_a_client_that_connects_is_told_that_the_kernel_starts_and_nothing_of_one_that_is_up(kit):
    kit.notices.connected("one")
    kit.state = None
    kit.notices.connected("other")
    assert kit.taken() == [("one", None, "status", "starting")]


def test_a_start_that_is_over_soon_is_not_explained(kit):
    kit.waits("a")
    kit.pass_seconds(1.5)
    kit.notices.over()
    kit.pass_seconds(60)
    assert kit.taken() == []


def test_a_cell_that_waits_shows_one_line_which_is_replaced_where_the_words_change_and_taken_away_in_the_end(kit):
    kit.waits("a")
    kit.pass_seconds(2)
    assert kit.taken() == line(kit.words)
    kit.pass_seconds(1)
    assert kit.taken() == []
    kit.words = "Waiting for node n1 to begin the kernel's container"
    kit.pass_seconds(1)
    assert kit.taken() == line(kit.words)
    kit.notices.over()
    kit.pass_seconds(60)
    assert kit.taken() == cleared()


def test_where_nobody_knows_what_is_waited_for_the_line_says_that_the_kernel_starts(kit):
    kit.words = None
    kit.waits("a")
    kit.pass_seconds(2)
    assert kit.taken() == line("Waiting for the kernel to start.")


def test_only_the_first_cell_of_each_session_shows_a_line(kit):
    kit.waits("a")
    kit.waits("b")
    kit.waits("c", "other")
    kit.pass_seconds(2)
    assert kit.taken() == line(kit.words) + line(kit.words, "c", "other")


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("kernel_info_request", {}),
        ("execute_request", {"silent": True}),
        ("execute_request", {"store_history": False}),
        ("execute_request", {"silent": "no"}),
    ],
    ids=["no cell", "silent", "outside the history", "none that a kernel could read"],
)
def test_what_no_person_looks_at_shows_no_line_and_leaves_it_to_the_next(kit, kind, content):
    kit.waits("x", kind=kind, **content)
    kit.waits("a")
    kit.pass_seconds(2)
    assert kit.taken() == line(kit.words)


def test_a_cell_of_any_size_shows_a_line_but_none_below_a_header_that_nobody_would_keep(kit):
    kit.waits("a", code="x" * (2 << 20))
    kit.waits("b" * (20 << 10), "other")
    kit.pass_seconds(2)
    assert kit.taken() == line(kit.words)


def test_a_client_that_was_away_is_shown_the_line_again_and_gets_rid_of_it(kit):
    kit.waits("a")
    kit.pass_seconds(2)
    kit.taken()
    kit.away.add("one")
    kit.away.clear()
    kit.notices.connected("one")
    kit.pass_seconds(1)
    assert kit.taken() == [("one", None, "status", "starting"), *line(kit.words)]


def test_a_line_is_taken_away_from_a_client_that_was_away_when_it_comes_back(kit):
    kit.waits("a")
    kit.pass_seconds(2)
    kit.taken()
    kit.away.add("one")
    kit.notices.over()
    kit.away.clear()
    kit.state = None
    kit.notices.connected("one")
    kit.notices.connected("one")
    assert kit.taken() == cleared()


def test_a_client_that_was_away_all_the_time_is_shown_nothing(kit):
    kit.away.add("one")
    kit.waits("a")
    kit.pass_seconds(2)
    kit.notices.over()
    kit.away.clear()
    kit.state = None
    kit.notices.connected("one")
    assert kit.taken() == []


def test_of_more_sessions_than_anybody_has_no_line_is_kept(kit):
    for number in range(300):
        kit.waits("a", str(number))
    kit.pass_seconds(2)
    assert len(kit.taken()) == 2 * 256


def test_a_client_that_connects_to_a_dead_kernel_is_told_so_once_it_could_ask_why(kit):
    kit.state = Told.DEAD
    kit.notices.connected("one")
    assert kit.taken() == []
    kit.pass_seconds(3)
    assert kit.taken() == [("one", None, "status", "dead")]


def test_clients_of_a_kernel_that_never_came_up_are_told_so_once_they_could_send_what_they_were_about_to(kit):
    kit.state = Told.DEAD
    kit.notices.never_up(["one", "other"])
    assert kit.taken() == []
    kit.pass_seconds(3)
    assert kit.taken() == [("one", None, "status", "dead"), ("other", None, "status", "dead")]


def test_a_client_is_not_told_that_a_kernel_is_dead_that_somebody_started_again(kit):
    kit.state = Told.DEAD
    kit.notices.connected("one")
    kit.state = None
    kit.pass_seconds(3)
    assert kit.taken() == []


def test_a_link_that_is_closed_takes_its_lines_away_and_says_nothing_more(kit):
    kit.waits("a")
    kit.pass_seconds(2)
    kit.notices.close()
    kit.pass_seconds(60)
    assert kit.taken() == line("Waiting for a node: 0/3 nodes are available") + cleared()
