import json

import pytest
from jupyter_client.session import Session

from enterprise_gateway.websocket.messages import Gap, KernelMessage
from enterprise_gateway.websocket.repeated_loss import RepeatedLoss

LARGE = 12_000_000


def message(msg_id="1", kind="display_data", channel="iopub", size=LARGE, parent=b'{"msg_id":"p","msg_type":"execute_request"}'):
    header = json.dumps({"msg_id": msg_id, "msg_type": kind}).encode()
    return KernelMessage(channel, [header, parent, b"{}", b"x" * size])


class Client:
    """Loses its connection again and again."""

    def __init__(self):
        self.dropped = []
        self.losses = RepeatedLoss(dropped=self.dropped.append)

    def lose(self, *undelivered):
        return self.losses.check(undelivered, Session(key=b"k"))


@pytest.fixture
def client():
    return Client()


def test_output_over_which_two_connections_in_a_row_were_lost_becomes_a_notice(client):
    large, rest = message(), message("2", size=1)
    assert client.lose(large, rest) == [large, rest]
    assert client.lose(large, rest) == [Gap(1, large.size, large.parts[1], twice=True), rest]
    assert client.dropped == [large.size]


def test_a_message_that_was_delivered_between_two_losses_stays(client):
    large, other = message(), message("2")
    assert client.lose(large) == [large]
    assert client.lose(other) == [other]
    assert client.lose(large) == [large]
    assert client.lose() == []
    assert client.lose(large) == [large]
    assert client.dropped == []


def test_an_earlier_gap_in_front_of_it_does_not_hide_it(client):
    gap, large = Gap(3, 30), message()
    client.lose(gap, large)
    assert client.lose(gap, large)[0] == gap
    assert client.dropped == [large.size]


@pytest.mark.parametrize("kind", ["stream", "status"])
def test_a_message_that_no_client_refuses_for_its_size_is_sent_again_however_often(client, kind):
    small = message(kind=kind, size=60_000)
    for _ in range(5):
        assert client.lose(small) == [small]


def test_of_two_such_messages_each_is_given_up_in_its_turn(client):
    first, second = message("1"), message("2")
    client.lose(first, second)
    kept = client.lose(first, second)
    assert kept[1] is second
    client.lose(second)
    (gap,) = client.lose(second)
    assert isinstance(gap, Gap)


@pytest.mark.parametrize("channel", ["shell", "control"])
def test_a_reply_becomes_an_error_that_says_why(client, channel):
    reply = message(kind="inspect_reply", channel=channel, parent=b'{"msg_id":"p","msg_type":"inspect_request"}')
    client.lose(reply)
    (told,) = client.lose(reply)
    assert (told.channel, told.header.msg_type, told.parts[1]) == (channel, "inspect_reply", reply.parts[1])
    content = json.loads(told.parts[3])
    assert (content["status"], content["ename"]) == ("error", "MessageTooLarge")
    assert str(reply.size) in content["evalue"]


def test_a_reply_to_nobody_becomes_a_notice(client):
    reply = message(kind="inspect_reply", channel="shell", parent=b"{}")
    client.lose(reply)
    assert isinstance(client.lose(reply)[0], Gap)
