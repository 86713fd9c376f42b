"""What R would otherwise get wrong without a word."""

import pytest

from kernel_launchers.spark.r_numbers import as_r_has_it


@pytest.mark.parametrize("value", [0, -7, 2**31 - 1, -(2**31) + 1, True, "x", None, 0.5])
def test_what_r_has_stays_as_it_is(value):
    assert as_r_has_it(value) is value


@pytest.mark.parametrize("value", [2**31, -(2**31), 49_999_995_000_000])
def test_a_number_of_more_than_32_bits_is_a_double(value):
    told = as_r_has_it(value)
    assert (type(told), told) == (float, float(value))


def test_numbers_within_lists_and_maps_are_too():
    assert as_r_has_it([1, (2**40, [2**41])]) == [1, (float(2**40), [float(2**41)])]
    assert type(as_r_has_it({"a": {"b": 2**40}})["a"]["b"]) is float
