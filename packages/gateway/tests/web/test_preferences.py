import pytest
from hypothesis import given
from hypothesis import strategies as st

from enterprise_gateway.web.preferences import Preferences, preferences_of


@pytest.mark.parametrize(
    ("header", "respond_async", "wait"),
    [
        ("", False, 0),
        ("respond-async", True, 0),
        ("Respond-Async ; foo=bar, WAIT = 10", True, 10),
        ('return=minimal, wait="3"', False, 3),
        ("wait=5, respond-async, wait=7", True, 5),
        ("respond-asynchronously", False, 0),
        ("respond-async, wait=soon", True, 0),
        ("respond-async, wait=-1", True, 0),
        ("respond-async, wait=²", True, 0),
        (f"respond-async, wait={'9' * 5000}", True, 99999),
    ],
)
def test_what_is_known_counts_and_the_rest_means_nothing(header, respond_async, wait):
    assert preferences_of(header) == Preferences(respond_async=respond_async, wait=wait)


@given(st.text())
def test_no_header_can_be_wrong(header):
    assert 0 <= preferences_of(header).wait < 100_000
