"""Requests of clients: each runs once and is answered, and the log knows what ran."""

import json

import pytest

from kernel_launchers.link.messages import Headers, Signer, headers_of, parts_of
from kernel_launchers.link.requests import Requests


@pytest.fixture
def signer():
    return Signer(key="key", session="supervisor")


@pytest.fixture
def requests(signer):
    return Requests(signer=signer)


def message(msg_id, kind="execute_request", content=None, metadata=None):
    header = {"msg_id": msg_id, "msg_type": kind, "session": "of a client"}
    parts = [json.dumps(part).encode() for part in (header, {}, metadata or {}, content or {"code": "1"})]
    return headers_of(parts), parts


def test_a_message_of_a_session_is_new_once(requests):
    headers, _ = message("a")
    assert [requests.is_new(headers, session_id=session) for session in ("one", "one", "other")] == [True, False, True]


def test_a_request_to_run_code_stands_in_the_log_for_nobody_and_no_other_does(requests):
    entry = requests.sent("shell", *message("a", metadata={"cellId": "x"}), session_id="s")
    assert (entry.channel, entry.recipient, json.loads(entry.parts[2])) == ("requests", "\0", {"cellId": "x"})
    assert requests.sent("shell", *message("b", kind="complete_request"), session_id="s") is None


def test_of_code_that_is_too_long_for_the_log_only_the_header_stands_there(requests):
    entry = requests.sent("shell", *message("a", content={"code": "x" * 1_000_000}), session_id="s")
    assert entry.size < 1000
    assert json.loads(entry.parts[0])["msg_id"] == "a"


def test_an_answer_goes_to_the_session_that_asked_else_to_the_one_that_its_header_names(requests):
    requests.sent("shell", *message("a"), session_id="mine")
    assert requests.recipient(Headers("r", "execute_reply", "a", "of a client")) == "mine"
    assert requests.recipient(Headers("r", "execute_reply", "unknown", "of a client")) == "of a client"


def test_a_kernel_that_is_gone_owes_nobody_anything(requests):
    requests.sent("shell", *message("a"), session_id="mine")
    requests.sent("control", *message("b", kind="debug_request"), session_id="other")
    requests.sent("shell", *message("c"), session_id="mine")
    requests.seen("shell", Headers("r", "execute_reply", "c", ""), b"{}")
    requests.seen("iopub", Headers("s", "status", "c", ""), b'{"execution_state": "idle"}')
    answers = requests.answer_all("It died.")
    told = [(one.channel, one.recipient, headers_of(one.parts).msg_type, headers_of(one.parts).parent_id) for one in answers]
    assert told == [
        ("iopub", None, "error", "a"),
        ("shell", "mine", "execute_reply", "a"),
        ("iopub", None, "status", "a"),
        ("control", "other", "debug_reply", "b"),
        ("iopub", None, "status", "b"),
    ]
    assert all(one.by_supervisor for one in answers)
    assert requests.answer_all("It died.") == []


def test_what_a_kernel_is_done_with_without_a_reply_is_answered_once(requests):
    requests.sent("shell", *message("a", kind="usage_request"), session_id="mine")
    assert requests.answer_the_rest("a") == []
    assert requests.seen("iopub", Headers("s", "status", "a", ""), b'{"execution_state": "idle"}')
    (answer,) = requests.answer_the_rest("a")
    assert (answer.channel, answer.recipient, headers_of(answer.parts).msg_type) == ("shell", "mine", "usage_reply")
    assert json.loads(answer.parts[3])["ename"] == "NoReplyError"
    assert requests.answer_the_rest("a") == []
    assert len(requests) == 0


def test_what_a_kernel_aborts_without_a_word_is_said_to_be_over(requests):
    requests.sent("shell", *message("a"), session_id="mine")
    assert requests.seen("shell", Headers("r", "execute_reply", "a", ""), b'{"status": "aborted"}')
    (answer,) = requests.answer_the_rest("a")
    assert (answer.channel, json.loads(answer.parts[3])) == ("iopub", {"execution_state": "idle"})


def test_frames_that_are_no_message_are_nothing(signer):
    assert parts_of([b"x", b"y"]) is None
    assert parts_of([b"<IDS|MSG>", b"signature", b"{}"]) is None
    signed = signer.sign(signer.make("status", {"execution_state": "idle"}))
    assert headers_of(parts_of([b"topic", *signed])).msg_type == "status"
    for header in (b"[]", b"{}", b"{", b'{"msg_id": 1, "msg_type": "x"}'):
        assert headers_of([header, b"{}", b"{}", b"{}"]) is None
