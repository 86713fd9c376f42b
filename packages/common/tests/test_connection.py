import json

import pytest

from enterprise_gateway_common.connection import (
    PORTS,
    InvalidConnectionInfo,
    SupervisorSettings,
    connection_file,
    parse_connection_file,
    supervisor_settings,
)


def test_what_is_written_can_be_read():
    info = parse_connection_file(connection_file(key="secret", kernel_name="python3"))
    assert info["key"] == "secret"
    assert {name: info[name] for name in PORTS} == PORTS
    assert "curve_publickey" not in info


def test_a_curve_key_pair_goes_into_the_file_whole():
    info = parse_connection_file(
        connection_file(key="secret", kernel_name="python3", curve_publickey="p" * 40, curve_secretkey="s" * 40)
    )
    assert (info["curve_publickey"], info["curve_secretkey"]) == ("p" * 40, "s" * 40)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"shell_port": True}, "shell_port"),
        ({"hb_port": 70000}, "hb_port"),
        ({"key": ""}, "key"),
        ({"ip": None}, "ip"),
        ({"curve_publickey": "short", "curve_secretkey": "s" * 40}, "curve_publickey"),
        ({"curve_publickey": "p" * 40}, "curve_secretkey"),
    ],
)
def test_a_file_that_no_kernel_can_use_is_refused_by_the_name_of_its_field(change, named):
    info = {**json.loads(connection_file(key="topsecret", kernel_name="x")), **change}
    with pytest.raises(InvalidConnectionInfo, match=named) as refusal:
        parse_connection_file(json.dumps(info))
    assert "topsecret" not in str(refusal.value)


@pytest.mark.parametrize("text", ["topsecret{", "[]", '"topsecret"'])
def test_a_refusal_never_quotes_the_file(text):
    with pytest.raises(InvalidConnectionInfo) as refusal:
        parse_connection_file(text)
    assert "topsecret" not in str(refusal.value)
    assert refusal.value.__cause__ is None


SUPERVISOR = SupervisorSettings(52316, "p" * 40, "s" * 40, "g" * 40, 1 << 20, 0, 1000)


def test_what_a_supervisor_needs_stands_beside_what_a_kernel_needs():
    info = parse_connection_file(connection_file(key="secret", kernel_name="python", supervisor=SUPERVISOR))
    assert supervisor_settings(info) == SUPERVISOR
    assert info["shell_port"] == PORTS["shell_port"]


def test_a_file_that_doesnt_speak_of_supervisors_asks_for_none():
    assert supervisor_settings(parse_connection_file(connection_file(key="secret", kernel_name="python"))) is None


@pytest.mark.parametrize("given", [5, {}, {**SUPERVISOR._asdict(), "port": 0}, {**SUPERVISOR._asdict(), "secretkey": "short"}])
def test_what_cant_be_used_for_a_supervisor_is_refused_without_being_quoted(given):
    with pytest.raises(InvalidConnectionInfo) as refusal:
        supervisor_settings({"supervisor": given})
    assert "short" not in str(refusal.value)
