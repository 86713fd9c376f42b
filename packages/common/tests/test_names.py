import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from enterprise_gateway_common.names import kernel_object_name, slug, unique_slug

VALID = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
KERNEL_ID = "0b5c6f2e-8f0e-4f5d-9d0c-3a1f2b4c5d6e"


@given(st.text(max_size=300), st.text(min_size=1, max_size=80))
def test_every_name_of_a_kernel_is_a_valid_label(username, kernel_id):
    assert VALID.fullmatch(kernel_object_name(username, kernel_id))


@given(st.text(max_size=300))
def test_every_unique_slug_is_a_valid_label(text):
    assert VALID.fullmatch(unique_slug(text))


@given(st.text(max_size=100), st.text(max_size=100))
def test_two_texts_never_have_the_same_unique_slug(one, other):
    assume(one != other)
    assert unique_slug(one) != unique_slug(other)


def test_nobody_gets_anothers_name_by_writing_it():
    assert unique_slug(unique_slug("a.b")) != unique_slug("a.b")


@pytest.mark.parametrize(("one", "other"), [("a.b", "a@b"), ("Alice", "alice"), ("用户", "사용자")])
def test_users_who_slug_alike_have_different_names(one, other):
    assert unique_slug(one) != unique_slug(other)


def test_a_kernels_name_begins_with_its_user_and_ends_with_its_id():
    assert kernel_object_name("Alice.Smith", KERNEL_ID) == f"alice-smith-{KERNEL_ID}"


def test_a_long_user_name_leaves_the_id_whole():
    name = kernel_object_name("u" * 300, KERNEL_ID)
    assert len(name) == 63
    assert name.endswith(KERNEL_ID)


def test_a_slug_never_ends_with_a_hyphen_where_it_was_cut():
    assert slug("abc def", limit=4) == "abc"
