import json

from jupyter_client.session import Session

from enterprise_gateway.links.messages import KernelMessage
from enterprise_gateway.websocket.tracebacks import hide_traceback

_SESSION = Session(key=b"k")


def message(kind, channel="iopub"):
    content = json.dumps({"ename": "KeyError", "evalue": "'secret'", "traceback": ["secret"]}).encode()
    return KernelMessage(channel, [json.dumps({"msg_id": "i", "msg_type": kind}).encode(), b"{}", b"{}", content])


def test_an_error_on_iopub_keeps_nothing_of_what_happened():
    hidden = hide_traceback(message("error"), session=_SESSION, replacement="Hidden.")
    assert json.loads(hidden.parts[3]) == {"ename": "ExecutionError", "evalue": "Execution error", "traceback": ["Hidden."]}


def test_other_messages_stay_as_they_are():
    other = message("stream")
    assert hide_traceback(other, session=_SESSION, replacement="Hidden.") is other
