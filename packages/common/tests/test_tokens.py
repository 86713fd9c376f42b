import pytest

from enterprise_gateway_common.tokens import is_one_printable_word


@pytest.mark.parametrize("token", ["a", "0123abcdef", "Aa~!#$%&'*+-.^_`|", "eyJ0.eyJ1.c2ln="])
def test_what_a_header_can_carry_is_a_token(token):
    assert is_one_printable_word(token)


@pytest.mark.parametrize("token", ["", " ", "two words", "line\nbreak", "ends\n", "tab\there", "nul\x00", "ü", "\x7f"])
def test_what_a_header_cant_carry_is_none(token):
    assert not is_one_printable_word(token)
