import pytest

from enterprise_gateway.welcome import welcome


def said(**facts):
    known = {"version": "1", "url": "http://127.0.0.1:8888", "ip": "127.0.0.1", "loopback": True, "token_needed": False}
    return welcome(**{**known, "hostname": "box", **facts})


def test_a_gateway_on_the_loopback_is_for_this_machine_only():
    text = said()
    assert "on this machine: jupyter lab --gateway-url=http://127.0.0.1:8888\n" in text
    assert "Other machines can't reach it" in text
    assert "another machine" not in text


@pytest.mark.parametrize("ip", ["0.0.0.0", "::", ""])  # noqa: S104  nothing is bound
def test_another_machine_is_told_a_name_of_this_one(ip):
    text = said(ip=ip, loopback=False)
    assert "on this machine: jupyter lab --gateway-url=http://127.0.0.1:8888\n" in text
    assert "on another one, by a name or address of this machine: jupyter lab --gateway-url=http://box:8888\n" in text


def test_one_address_serves_everybody():
    text = said(ip="192.0.2.7", url="http://192.0.2.7:8888", loopback=False)
    assert "on this or another machine: jupyter lab --gateway-url=http://192.0.2.7:8888\n" in text


def test_a_token_that_is_needed_stands_in_the_line():
    assert "--gateway-url=http://127.0.0.1:8888 --GatewayClient.auth_token=<token>" in said(token_needed=True)
