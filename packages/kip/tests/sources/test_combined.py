from typing import Any

import pytest

from kernel_image_puller.errors import SourceFailed
from kernel_image_puller.sources.combined import CombinedSources
from kernel_image_puller.sources.protocol import SourceAnswer
from kernel_image_puller.wanted import ImageRequest


class FakeSource:
    def __init__(self, name: str, *images: str) -> None:
        self.name = name
        self.answer: SourceAnswer | str = SourceAnswer(tuple(ImageRequest(image, name) for image in images))

    def fetch(self) -> SourceAnswer:
        if isinstance(self.answer, str):
            raise SourceFailed(self.answer)
        return self.answer


def test_all_answers_are_taken_together(clock: Any) -> None:
    sources = CombinedSources(sources=[FakeSource("one", "a"), FakeSource("two", "b")], clock=clock)
    assert [request.image for request in sources.fetch()] == ["a", "b"]
    assert sources.complete
    assert sources.healthy


def test_a_source_that_fails_keeps_its_last_answer_and_is_reported(clock: Any) -> None:
    failing = FakeSource("one", "a")
    sources = CombinedSources(sources=[failing, FakeSource("two", "b")], clock=clock)
    sources.fetch()
    answered = clock.wall()
    failing.answer = "no answer"
    clock.advance(60)
    assert [request.image for request in sources.fetch()] == ["a", "b"]
    status = sources.statuses[0]
    assert (status.last_error, status.last_answer, status.images) == ("no answer", answered, 1)
    assert sources.complete
    assert not sources.healthy


def test_a_source_that_never_answered_makes_it_incomplete(clock: Any) -> None:
    failing = FakeSource("one")
    failing.answer = "no answer"
    sources = CombinedSources(sources=[failing, FakeSource("two", "b")], clock=clock)
    assert [request.image for request in sources.fetch()] == ["b"]
    assert not sources.complete


def test_a_lasting_failure_is_logged_once_and_its_end_too(clock: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    source = FakeSource("one", "a")
    good, sources = source.answer, CombinedSources(sources=[source], clock=clock)
    source.answer = "no answer"
    for _ in range(3):
        sources.fetch()
    source.answer = good
    for _ in range(2):
        sources.fetch()
    assert caplog.text.count("its last answer counts") == 1
    assert caplog.text.count("answers again") == 1


def test_a_part_that_cannot_be_read_is_logged_once(clock: Any, caplog: pytest.LogCaptureFixture) -> None:
    source = FakeSource("one")
    source.answer = SourceAnswer((), ("kernelspec x is broken",))
    sources = CombinedSources(sources=[source], clock=clock)
    for _ in range(3):
        sources.fetch()
    assert caplog.text.count("is skipped") == 1
