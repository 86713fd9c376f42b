import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_client.session import DELIM, Session

from enterprise_gateway.links.messages import MalformedMessage
from enterprise_gateway.links.signing import InvalidSignature, open_signed, sign

_SESSION = Session(key=b"key")


@given(
    st.lists(st.binary(max_size=20).filter(lambda part: part != DELIM), max_size=3),
    st.lists(st.binary(max_size=20), min_size=4, max_size=6),
)
def test_what_was_signed_is_opened_behind_any_identities(identities, parts):
    assert open_signed([*identities, *sign(parts, _SESSION)], _SESSION, trusted=False) == parts


def test_jupyter_client_accepts_the_signature():
    message = _SESSION.msg("status", {"execution_state": "idle"})
    frames = sign(_SESSION.serialize(message)[2:], _SESSION)
    assert _SESSION.deserialize(frames[1:])["content"] == {"execution_state": "idle"}


@pytest.mark.parametrize("part", range(4))
def test_a_change_of_any_signed_part_is_noticed(part):
    frames = sign([b"a", b"b", b"c", b"d"], _SESSION)
    frames[2 + part] += b"x"
    with pytest.raises(InvalidSignature):
        open_signed(frames, _SESSION, trusted=False)


@pytest.mark.parametrize("signature", [b"", b"0" * 64, b"\xff"])
def test_a_message_without_a_valid_signature_is_refused(signature):
    with pytest.raises(InvalidSignature):
        open_signed([DELIM, signature, b"", b"", b"", b""], _SESSION, trusted=False)


def test_on_an_authenticated_connection_the_signature_is_not_looked_at():
    assert open_signed([DELIM, b"", b"a", b"b", b"c", b"d"], _SESSION, trusted=True) == [b"a", b"b", b"c", b"d"]


@pytest.mark.parametrize("frames", [[], [b"x"], [DELIM], [DELIM, b"", b"", b"", b""]])
def test_frames_that_are_no_message_are_malformed(frames):
    with pytest.raises(MalformedMessage):
        open_signed(frames, _SESSION, trusted=False)
