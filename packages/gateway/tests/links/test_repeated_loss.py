import json

import pytest
from jupyter_client.session import Session

from enterprise_gateway.links.messages import KernelMessage
from enterprise_gateway.links.repeated_loss import RepeatedLoss, in_place_of

LARGE = 12_000_000


def message(msg_id="1", kind="display_data", channel="iopub", size=LARGE, parent=b'{"msg_id":"p","msg_type":"execute_request"}'):
    header = json.dumps({"msg_id": msg_id, "msg_type": kind}).encode()
    return KernelMessage(channel, [header, parent, b"{}", b"x" * size])


@pytest.fixture
def losses():
    return RepeatedLoss()


def test_a_message_over_which_two_connections_in_a_row_were_lost_is_given_up(losses):
    assert not losses.lost(7, LARGE)
    assert not losses.gave_up(7)
    assert losses.lost(7, LARGE)
    assert losses.gave_up(7)


def test_what_stands_in_its_place_is_given_up_by_no_further_loss(losses):
    assert [losses.lost(7, LARGE) for _ in range(5)] == [False, True, False, False, False]
    assert losses.gave_up(7)


def test_a_message_that_was_delivered_between_two_losses_stays(losses):
    assert not losses.lost(7, LARGE)
    assert not losses.lost(8, LARGE)
    assert not losses.lost(7, LARGE)
    assert not losses.lost(8, 0)
    assert not losses.lost(7, LARGE)
    assert not losses.gave_up(7)


def test_a_message_that_no_client_refuses_for_its_size_is_sent_again_however_often(losses):
    assert not any(losses.lost(7, 60_000) for _ in range(5))


def test_of_two_such_messages_each_is_given_up_in_its_turn(losses):
    assert [losses.lost(number, LARGE) for number in (7, 7, 8, 8)] == [False, True, False, True]


def test_output_becomes_a_notice_below_its_cell():
    large = message()
    told = in_place_of(large, Session(key=b"k"))
    assert (told.channel, told.header.msg_type, told.parent_header) == ("iopub", "stream", large.parts[1])
    assert str(large.size) in json.loads(told.parts[3])["text"]


@pytest.mark.parametrize("channel", ["shell", "control"])
def test_a_reply_becomes_an_error_that_says_why(channel):
    reply = message(kind="inspect_reply", channel=channel, parent=b'{"msg_id":"p","msg_type":"inspect_request"}')
    told = in_place_of(reply, Session(key=b"k"))
    assert (told.channel, told.header.msg_type, told.parts[1]) == (channel, "inspect_reply", reply.parts[1])
    content = json.loads(told.parts[3])
    assert (content["status"], content["ename"]) == ("error", "MessageTooLarge")
    assert str(reply.size) in content["evalue"]


def test_a_reply_to_nobody_becomes_a_notice():
    reply = message(kind="inspect_reply", channel="shell", parent=b"{}")
    assert in_place_of(reply, Session(key=b"k")).channel == "iopub"
