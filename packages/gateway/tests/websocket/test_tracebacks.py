import json

import pytest
from jupyter_client.session import Session

from enterprise_gateway.links.messages import KernelMessage, MalformedMessage
from enterprise_gateway.websocket.tracebacks import hide_traceback

_SESSION = Session(key=b"k")


_ERROR = {"ename": "KeyError", "evalue": "'secret'", "traceback": ["secret"]}
_HIDDEN = {"ename": "ExecutionError", "evalue": "Execution error", "traceback": ["Hidden."]}


def message(kind, channel="iopub", content=_ERROR):
    header = json.dumps({"msg_id": "i", "msg_type": kind}).encode()
    return KernelMessage(channel, [header, b"{}", b"{}", json.dumps(content).encode(), b"buffer"], recipient="me")


def test_an_error_on_iopub_keeps_nothing_of_what_happened():
    hidden = hide_traceback(message("error"), session=_SESSION, replacement="Hidden.")
    assert json.loads(hidden.parts[3]) == _HIDDEN


def test_the_reply_to_a_cell_that_failed_keeps_nothing_of_what_happened_and_its_recipient():
    failed = message("execute_reply", "shell", {"status": "error", "execution_count": 1, **_ERROR})
    hidden = hide_traceback(failed, session=_SESSION, replacement="Hidden.")
    assert json.loads(hidden.parts[3]) == {"status": "error", "execution_count": 1, **_HIDDEN}
    assert (hidden.channel, hidden.recipient, hidden.parts[4]) == ("shell", "me", b"buffer")


def test_so_does_the_result_of_a_user_expression():
    results = {"right": {"status": "ok", "data": {}}, "wrong": {"status": "error", **_ERROR}}
    reply = message("execute_reply", "shell", {"status": "ok", "user_expressions": results})
    hidden = json.loads(hide_traceback(reply, session=_SESSION, replacement="Hidden.").parts[3])
    assert hidden == {"status": "ok", "user_expressions": {**results, "wrong": {"status": "error", **_HIDDEN}}}


@pytest.mark.parametrize("content", [["traceback"], "traceback"])
def test_a_reply_without_an_object_is_none(content):
    with pytest.raises(MalformedMessage):
        hide_traceback(message("execute_reply", "shell", content), session=_SESSION, replacement="Hidden.")


def test_other_messages_stay_as_they_are():
    for other in (message("stream"), message("execute_reply", "shell", {"status": "ok", "user_expressions": {}})):
        assert hide_traceback(other, session=_SESSION, replacement="Hidden.") is other
