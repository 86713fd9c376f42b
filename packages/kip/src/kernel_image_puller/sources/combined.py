"""Several sources as one, each of which may fail on its own."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from kernel_image_puller.clock import Clock
from kernel_image_puller.errors import SourceFailed
from kernel_image_puller.logs import fields
from kernel_image_puller.sources.protocol import Source, SourceAnswer
from kernel_image_puller.wanted import ImageRequest

__all__ = ["CombinedSources", "SourceStatus"]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SourceStatus:
    """How one source is doing."""

    name: str
    answered: bool = False
    """Whether it has ever answered."""
    images: int = 0
    last_answer: float | None = None
    """When it answered last, in seconds since 1970."""
    last_error: str = ""
    """Why it doesn't answer now; empty when it does."""
    problems: tuple[str, ...] = ()


class CombinedSources:
    """All sources together. One that fails keeps its last answer; nothing here raises `SourceFailed`."""

    def __init__(self, *, sources: Sequence[Source], clock: Clock) -> None:
        self._sources = tuple(sources)
        self._clock = clock
        self._answers: list[SourceAnswer] = [SourceAnswer(()) for _ in sources]
        self._statuses = [SourceStatus(name=source.name) for source in sources]

    @property
    def statuses(self) -> tuple[SourceStatus, ...]:
        """How each source is doing."""
        return tuple(self._statuses)

    @property
    def complete(self) -> bool:
        """Whether every source has answered at least once."""
        return all(status.answered for status in self._statuses)

    @property
    def healthy(self) -> bool:
        """Whether every source answered the last time."""
        return not any(status.last_error for status in self._statuses)

    def fetch(self) -> tuple[ImageRequest, ...]:
        """Ask every source, and return what all of them name now or named last."""
        for index, source in enumerate(self._sources):
            self._ask(index, source)
        return tuple(request for answer in self._answers for request in answer.requests)

    def _ask(self, index: int, source: Source) -> None:
        known = self._statuses[index]
        try:
            answer = source.fetch()
        except SourceFailed as error:
            if known.last_error != str(error):
                _LOGGER.warning("A source of images fails; its last answer counts", extra=fields(source=source.name, error=error))
            self._statuses[index] = SourceStatus(
                name=source.name,
                answered=known.answered,
                images=known.images,
                last_answer=known.last_answer,
                last_error=str(error),
                problems=known.problems,
            )
            return
        if known.last_error:
            _LOGGER.info("A source of images answers again", extra=fields(source=source.name))
        for problem in set(answer.problems) - set(known.problems):
            _LOGGER.warning("Part of a source can't be read and is skipped", extra=fields(source=source.name, problem=problem))
        self._answers[index] = answer
        self._statuses[index] = SourceStatus(
            name=source.name,
            answered=True,
            images=len(answer.requests),
            last_answer=self._clock.wall(),
            problems=answer.problems,
        )
