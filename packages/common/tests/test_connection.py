import json

import pytest

from enterprise_gateway_common.connection import PORTS, InvalidConnectionInfo, connection_file, parse_connection_file


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
