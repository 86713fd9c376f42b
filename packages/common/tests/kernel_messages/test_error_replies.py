import pytest

from enterprise_gateway_common.kernel_messages.error_replies import DEAD_KERNEL, error_answers
from enterprise_gateway_common.kernel_messages.open_requests import OpenRequest

ERROR = {"ename": DEAD_KERNEL, "evalue": "Out of memory.", "traceback": ["DeadKernelError: Out of memory."]}


def answers(kind="execute_request", channel="shell", *, began=False, replied=False, ended=False):
    request = OpenRequest(channel=channel, request_type=kind, header=b"{}")
    request.began, request.replied, request.ended = began, replied, ended
    told = error_answers(request, name=DEAD_KERNEL, cause="Out of memory.")
    return [(answer.channel, answer.message_type, answer.content) for answer in told]


IDLE = ("iopub", "status", {"execution_state": "idle"})
REPLY = {"status": "error", **ERROR}


def test_a_cell_that_ran_gets_the_error_as_output_then_the_reply_then_idle():
    reply = {**REPLY, "execution_count": None, "payload": [], "user_expressions": {}}
    assert answers(began=True) == [("iopub", "error", ERROR), ("shell", "execute_reply", reply), IDLE]


def test_a_cell_that_waited_gets_the_reply_and_idle():
    assert [answer[:2] for answer in answers()] == [("shell", "execute_reply"), ("iopub", "status")]


def test_what_was_told_already_is_not_told_again():
    assert answers(began=True, replied=True) == [IDLE]
    assert [answer[1] for answer in answers(began=True, ended=True)] == ["execute_reply"]


@pytest.mark.parametrize("began", [True, False])
def test_a_question_is_answered_on_its_own_channel_by_its_own_type(began):
    told = answers("usage_request", "control", began=began)
    assert told == [("control", "usage_reply", REPLY), IDLE]
