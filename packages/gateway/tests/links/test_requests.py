import json

import pytest
from jupyter_client.session import Session

from enterprise_gateway.links.messages import Header, KernelMessage
from enterprise_gateway.links.requests import HeldMessage, LinkRequests, TooManyWait


def said(channel, kind, parent=None, **content):
    header = {"msg_id": f"{kind} of the kernel", "msg_type": kind}
    parent = {} if parent is None else {"msg_id": parent, "msg_type": "execute_request", "session": "the header's"}
    return KernelMessage(channel, [json.dumps(part).encode() for part in (header, parent, {}, content)])


def message(msg_id="1", kind="execute_request", channel="shell", size=10):
    header = {"msg_id": msg_id, "msg_type": kind}
    return HeldMessage(channel, Header(**header), [json.dumps(header).encode(), b"{}", b"{}", b"x" * size], "the websocket's")


@pytest.fixture
def requests():
    return LinkRequests(most_held_bytes=10_000)


def answers(requests):
    told = requests.answer_all("Out of memory.", Session(key=b"k"))
    return [(m.channel, m.header.msg_type, json.loads(m.parts[1])["msg_id"], json.loads(m.parts[3])) for m in told]


def short(requests):
    return [answer[:3] for answer in answers(requests)]


def test_a_request_that_is_answered_in_full_gets_no_other_answer(requests):
    requests.sent(message())
    requests.seen(said("iopub", "status", "1", execution_state="busy"))
    requests.seen(said("shell", "execute_reply", "1"))
    requests.seen(said("iopub", "status", "1", execution_state="idle"))
    assert answers(requests) == []


def test_open_requests_are_answered_in_order_each_on_its_channel(requests):
    requests.sent(message("a"))
    requests.sent(message("b", "usage_request", "control"))
    requests.seen(said("iopub", "status", "a", execution_state="busy"))
    assert short(requests) == [
        ("iopub", "error", "a"),
        ("shell", "execute_reply", "a"),
        ("iopub", "status", "a"),
        ("control", "usage_reply", "b"),
        ("iopub", "status", "b"),
    ]
    assert answers(requests) == []


def test_the_cause_is_named(requests):
    requests.sent(message())
    _, (_, _, _, reply), (_, _, _, idle) = answers(requests)
    assert (reply["status"], reply["ename"], reply["evalue"]) == ("error", "DeadKernelError", "Out of memory.")
    assert idle == {"execution_state": "idle"}


@pytest.mark.parametrize("channel", ["shell", "iopub", "stdin"])
def test_what_names_no_request_ends_none(requests, channel):
    requests.sent(message())
    requests.seen(said(channel, "status", execution_state="idle"))
    assert len(short(requests)) == 3


def test_what_is_held_is_not_open_and_comes_out_in_order(requests):
    held = [message(name) for name in "abc"]
    for one in held:
        requests.hold(one)
    assert answers(requests) == []
    assert requests.release() == held
    assert requests.release() == []


@pytest.mark.parametrize("size", [0, 4000])
def test_no_more_is_held_than_the_bound_allows(requests, size):
    ten = [message(size=size)] * 10
    with pytest.raises(TooManyWait, match="Run this again"):
        list(map(requests.hold, ten))
    assert requests.holding
    requests.release()
    assert not requests.holding
    requests.hold(message(size=size))


def test_no_more_messages_are_held_than_the_bound_allows_however_small():
    requests = LinkRequests(most_held_bytes=10_000_000, most_held=3)
    with pytest.raises(TooManyWait, match="3 messages wait for it"):
        list(map(requests.hold, [message(size=0)] * 4))
    assert len(requests.release()) == 3


def test_what_never_reached_the_kernel_is_answered_and_of_each_sessions_cells_the_first_shows_why(requests):
    kinds = [("a", "kernel_info_request"), ("b", "execute_request"), ("c", "execute_request"), ("d", "comm_msg")]
    unsent = [message(*kind)._replace(session_id=session) for session in ("one", "other") for kind in kinds]
    told = list(requests.answer_unsent(unsent, "No image.", Session(key=b"k")))
    of_each = [
        ("shell", "kernel_info_reply", "a"),
        ("iopub", "status", "a"),
        ("iopub", "error", "b"),
        ("shell", "execute_reply", "b"),
        ("iopub", "status", "b"),
        ("shell", "execute_reply", "c"),
        ("iopub", "status", "c"),
    ]
    assert [(one.channel, one.header.msg_type, json.loads(one.parts[1])["msg_id"]) for one in told] == of_each * 2
    assert [one.recipient for one in told if one.channel == "shell"] == ["one"] * 3 + ["other"] * 3
    assert {json.loads(one.parts[3]).get("evalue") for one in told} == {"No image.", None}


def test_a_reply_is_for_the_session_that_asked_and_answers_of_the_gateway_are_too(requests):
    requests.sent(message())
    assert requests.recipient(said("shell", "execute_reply", "1")) == "the websocket's"
    told = requests.answer_all("Out of memory.", Session(key=b"k"))
    assert [(one.channel, one.recipient) for one in told] == [
        ("iopub", None),
        ("shell", "the websocket's"),
        ("iopub", None),
    ]


def test_a_request_that_was_forgotten_is_answered_to_the_session_that_its_header_names(requests):
    assert requests.recipient(said("stdin", "input_request", "1")) == "the header's"
