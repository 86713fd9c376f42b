import json

import pytest
from jupyter_client.session import Session

from enterprise_gateway.websocket.messages import Header
from enterprise_gateway.websocket.session_requests import HeldMessage, KernelDoesNotRead, SessionRequests


def parts(kind, parent=None, **content):
    header = {"msg_id": f"{kind} of the kernel", "msg_type": kind}
    parent = {} if parent is None else {"msg_id": parent, "msg_type": "execute_request"}
    return [json.dumps(part).encode() for part in (header, parent, {}, content)]


def message(msg_id="1", kind="execute_request", channel="shell", size=10):
    header = {"msg_id": msg_id, "msg_type": kind}
    raw = json.dumps(header).encode()
    return HeldMessage(channel, Header(**header), raw, [raw, b"{}", b"{}", b"x" * size])


@pytest.fixture
def requests():
    return SessionRequests(most_held_bytes=10_000)


def answers(requests):
    told = requests.answer_all("Out of memory.", Session(key=b"k"))
    return [(m.channel, m.header.msg_type, json.loads(m.parts[1])["msg_id"], json.loads(m.parts[3])) for m in told]


def short(requests):
    return [answer[:3] for answer in answers(requests)]


def test_a_request_that_is_answered_in_full_gets_no_other_answer(requests):
    requests.sent(message())
    assert requests.seen("iopub", parts("status", "1", execution_state="busy")) is None
    assert requests.seen("shell", parts("execute_reply", "1")) == "1"
    assert requests.seen("iopub", parts("status", "1", execution_state="idle")) is None
    assert answers(requests) == []


def test_open_requests_are_answered_in_order_each_on_its_channel(requests):
    requests.sent(message("a"))
    requests.sent(message("b", "usage_request", "control"))
    requests.seen("iopub", parts("status", "a", execution_state="busy"))
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
    assert requests.seen(channel, parts("status", execution_state="idle")) is None
    assert requests.seen(channel, [b"no JSON", b"no JSON", b"{}", b"{}"]) is None
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
    with pytest.raises(KernelDoesNotRead):
        list(map(requests.hold, ten))
    requests.release()
    requests.hold(message(size=size))
