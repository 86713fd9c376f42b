import json

import pytest

from enterprise_gateway.links.messages import KernelMessage
from enterprise_gateway.websocket.options import WebsocketOptions
from enterprise_gateway.websocket.rate_limit import RateLimit, Verdict


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def message(kind="stream", size=100, channel="iopub", **content):
    header = json.dumps({"msg_id": "i", "msg_type": kind}).encode()
    body = json.dumps(content).encode() if content else b"x" * (size - len(header) - 4)
    return KernelMessage(channel, [header, b"{}", b"{}", body])


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def limit(clock):
    return RateLimit(options=WebsocketOptions(iopub_message_rate=10, iopub_data_rate=1000, rate_window=1), clock=clock)


def test_without_limits_everything_passes_undecoded(clock):
    limit = RateLimit(options=WebsocketOptions(), clock=clock)
    assert limit.check(KernelMessage("iopub", [b"no header"] * 4)).passes


def test_output_passes_up_to_the_limit_and_the_client_is_told_once_that_it_is_dropped(limit):
    verdicts = [limit.check(message("display_data")) for _ in range(13)]
    assert [v.passes for v in verdicts] == [True] * 10 + [False] * 3
    assert "10 messages a second" in verdicts[10].notice
    assert verdicts[11:] == [Verdict(passes=False)] * 2


def test_bytes_of_streams_are_limited(limit):
    assert limit.check(message(size=900)).passes
    assert "1000 bytes a second" in limit.check(message(size=200)).notice


def test_bytes_of_displays_are_not(limit):
    assert all(limit.check(message("display_data", size=900)).passes for _ in range(5))


@pytest.mark.parametrize("kind", ["status", "comm_open", "execute_input"])
def test_what_a_client_must_know_always_passes(limit, kind):
    assert all(limit.check(message(kind)).passes for _ in range(50))


def test_other_channels_are_not_limited(limit):
    assert all(limit.check(message("execute_reply", channel="shell")).passes for _ in range(50))


def test_output_flows_again_only_well_below_the_limit(limit, clock):
    for moment in range(11):
        clock.now = moment / 100
        limit.check(message("display_data"))
    clock.now = 1.015
    assert not limit.check(message("display_data")).passes
    clock.now = 1.035
    assert limit.check(message("display_data")).passes


def test_an_idle_kernel_starts_anew(limit):
    for _ in range(11):
        limit.check(message("display_data"))
    limit.check(message("status", execution_state="idle"))
    assert limit.check(message("display_data")).passes
