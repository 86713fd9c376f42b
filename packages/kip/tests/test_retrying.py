import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_image_puller.retrying import PullFrequency, RegistryBackoff, RetryPolicy

POLICY = RetryPolicy(tries=3, first_wait=1.0, longest_wait=60.0)


@given(st.integers(1, 10_000))
def test_no_wait_is_longer_than_the_longest(tries: int) -> None:
    assert 1.0 <= POLICY.wait(tries) <= 60.0


@pytest.mark.parametrize(("tries", "least"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0)])
def test_waits_double_up_to_the_longest(tries: int, least: float) -> None:
    assert least <= POLICY.wait(tries) <= least + 1.0


def test_the_longest_wait_is_shortened_by_a_fifth_at_most() -> None:
    assert all(48.0 <= POLICY.wait(10) <= 60.0 for _ in range(20))


def test_waits_of_several_nodes_differ() -> None:
    for tries in (1, 60):
        waits = {POLICY.wait(tries) for _ in range(20)}
        assert len(waits) > 1
        assert max(waits) <= POLICY.longest_wait


def test_what_the_registry_asks_for_is_kept_up_to_an_hour() -> None:
    assert POLICY.wait(1, retry_after=120.0) == 120.0
    assert POLICY.wait(1, retry_after=1e9) == 3600.0


def test_a_series_is_over_after_its_tries() -> None:
    assert [POLICY.is_exhausted(tries) for tries in (1, 2, 3, 4)] == [False, False, True, True]


def test_a_registry_in_trouble_is_left_alone_longer_each_time() -> None:
    backoff = RegistryBackoff(POLICY)
    backoff.failed("r", 0.0, None)
    first = backoff.blocked_until("r")
    backoff.failed("r", first, None)
    assert backoff.blocked_until("r") - first > first


def test_pulls_that_had_begun_before_count_as_the_same_trouble() -> None:
    backoff = RegistryBackoff(POLICY)
    backoff.failed("r", 0.0, 30.0)
    blocked = backoff.blocked_until("r")
    backoff.failed("r", 1.0, None)
    assert backoff.blocked_until("r") == blocked == 30.0


def test_a_registry_that_answers_is_forgotten() -> None:
    backoff = RegistryBackoff(POLICY)
    backoff.failed("r", 0.0, 30.0)
    assert backoff.is_suspect("r")
    backoff.answered("r")
    assert not backoff.is_suspect("r")
    assert backoff.blocked_until("r") == 0.0


def test_an_image_is_brought_back_only_so_often_in_an_hour() -> None:
    frequency = PullFrequency(2)
    frequency.record(0.0)
    assert frequency.next_time(1.0) is None
    frequency.record(10.0)
    assert frequency.next_time(20.0) == 3600.0
    assert frequency.next_time(3600.0) is None
