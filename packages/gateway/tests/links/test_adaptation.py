import json

import pytest
from jupyter_client.session import Session

from enterprise_gateway.links import adaptation
from enterprise_gateway.links.messages import MalformedMessage


def session(version):
    made = Session(key=b"k")
    made.adapt_version = version
    return made


def parts(**content):
    header = {"msg_id": "i", "msg_type": "execute_reply", "version": "4.1", "session": "s", "username": "u"}
    return [json.dumps(part).encode() for part in (header, {}, {}, content)]


@pytest.mark.parametrize(("version", "needed"), [(0, False), (4, True), (5, False)])
def test_only_an_older_protocol_is_adapted(version, needed):
    assert adaptation.is_needed(session(version)) is needed


def test_a_message_of_version_4_becomes_one_of_version_5_with_its_buffers():
    text = {"execution_count": 1, "status": "ok", "payload": [{"source": "page", "text": "Ω"}], "user_variables": {}}
    adapted = adaptation.from_kernel([*parts(**text), b"\x00"], session(4))
    assert json.loads(adapted[3])["payload"][0]["data"] == {"text/plain": "Ω"}
    assert adapted[4] == b"\x00"


@pytest.mark.parametrize("broken", [[b"{}"] * 4, [b"["] * 4, [b"[]"] * 4])
def test_what_cannot_be_adapted_is_malformed(broken):
    with pytest.raises(MalformedMessage):
        adaptation.from_kernel(broken, session(4))
