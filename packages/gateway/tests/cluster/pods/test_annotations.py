from datetime import UTC, datetime

import pytest

from enterprise_gateway.cluster.pods.annotations import (
    Cause,
    Ending,
    ending_of,
    last_activity_of,
    moment_of,
    text_of,
    was_started,
)
from enterprise_gateway.cluster.pods.state import pod_state
from enterprise_gateway_common import labels


@pytest.fixture
def marked(pod):
    """Return a function that makes what is seen of a pod with annotations."""
    return lambda annotations: pod_state(pod(metadata={"annotations": annotations, "uid": "u1"}))


def test_an_announced_end_is_read_as_it_was_written(marked):
    ending = Ending(cause=Cause.SHUTDOWN, at="2026-01-02T03:04:05Z", words='it "was" idle\n')
    assert ending_of(marked(ending.annotation())) == ending


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"cause": "restart"}', '{"cause": "other", "at": "", "words": ""}'])
def test_an_end_in_words_that_are_not_known_is_none(marked, text):
    assert ending_of(marked({labels.ENDING_ANNOTATION: text})) is None
    assert ending_of(marked({})) is None


def test_a_moment_is_the_same_after_it_was_written(marked):
    moment = datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC)
    assert last_activity_of(marked({labels.LAST_ACTIVITY_ANNOTATION: text_of(moment)})) == moment
    assert was_started(marked({labels.LAST_ACTIVITY_ANNOTATION: text_of(moment)}))
    assert not was_started(marked({}))


@pytest.mark.parametrize("text", [None, "", "yesterday"])
def test_what_is_no_moment_is_none(text):
    assert moment_of(text) is None


def test_a_moment_without_a_zone_is_of_the_zone_that_clusters_write():
    assert moment_of("2026-01-02T03:04:05") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
