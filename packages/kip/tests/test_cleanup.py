from pathlib import Path
from typing import Any

import pytest

from kernel_image_puller.cleanup import Cleaner
from kernel_image_puller.errors import RuntimeAway
from kernel_image_puller.runtimes.protocol import StoredImage

A, B = "docker.io/library/a:1", "docker.io/library/b:1"
DIGEST = "docker.io/library/a@sha256:" + "0" * 64


class FakeStore:
    name = "fake"

    def __init__(self) -> None:
        self.used: frozenset[str] | None = frozenset()
        self.removed: list[str] = []
        self.away = False

    def identities_in_use(self) -> frozenset[str] | None:
        if self.away:
            raise RuntimeAway("away")
        return self.used

    def remove(self, image: StoredImage, name: str) -> None:
        del image
        self.removed.append(name)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


def _cleaner(store: FakeStore, clock: Any, *, after: float = 3600.0, state_file: Path | None = None) -> Cleaner:
    return Cleaner(runtime=store, after_seconds=after, state_file=state_file, clock=clock)  # type: ignore[arg-type]  # only removing is asked of it


def _image(*names: str, identity: str = "id", pinned: bool = False) -> StoredImage:
    return StoredImage(identity, frozenset(names), 1, pinned)


def test_an_image_of_ours_that_nobody_wants_is_removed_when_its_time_has_come(store: FakeStore, clock: Any) -> None:
    cleaner = _cleaner(store, clock)
    cleaner.brought(A)
    cleaner.clean([], [_image(A, DIGEST)])
    clock.advance(3599)
    cleaner.clean([], [_image(A, DIGEST)])
    assert store.removed == []
    clock.advance(1)
    cleaner.clean([], [_image(A, DIGEST)])
    assert store.removed == [A]


def test_an_image_that_is_wanted_again_begins_anew(store: FakeStore, clock: Any) -> None:
    cleaner = _cleaner(store, clock)
    cleaner.brought(A)
    cleaner.clean([], [_image(A)])
    clock.advance(3000)
    cleaner.clean([A], [_image(A)])
    clock.advance(3000)
    cleaner.clean([], [_image(A)])
    assert store.removed == []


@pytest.mark.parametrize(
    ("image", "used"),
    [
        (_image(A), frozenset({"id"})),
        (_image(A), frozenset({A})),
        (_image(A), None),
        (_image(A, B), frozenset()),
        (_image(A, pinned=True), frozenset()),
        (_image(B), frozenset()),
    ],
    ids=["in use by id", "in use by name", "use unknown", "has a name that isn't ours", "pinned", "isn't ours"],
)
def test_what_is_not_surely_free_and_ours_stays(
    store: FakeStore, clock: Any, image: StoredImage, used: frozenset[str] | None
) -> None:
    store.used = used
    cleaner = _cleaner(store, clock)
    cleaner.brought(A)
    for _ in range(3):
        cleaner.clean([], [image])
        clock.advance(3600)
    assert store.removed == []


def test_nothing_is_removed_while_the_runtime_does_not_answer(store: FakeStore, clock: Any) -> None:
    store.away = True
    cleaner = _cleaner(store, clock)
    cleaner.brought(A)
    cleaner.clean([], [_image(A)])
    clock.advance(3600)
    cleaner.clean([], [_image(A)])
    assert store.removed == []


def test_it_is_off_unless_asked_for(store: FakeStore, clock: Any) -> None:
    cleaner = _cleaner(store, clock, after=0.0)
    cleaner.brought(A)
    clock.advance(1e9)
    cleaner.clean([], [_image(A)])
    assert store.removed == []


def test_what_was_brought_survives_a_restart_only_in_a_file(store: FakeStore, clock: Any, tmp_path: Path) -> None:
    file = tmp_path / "brought.json"
    _cleaner(store, clock, state_file=file).brought(A)
    again = _cleaner(store, clock, state_file=file)
    again.clean([], [_image(A)])
    clock.advance(3600)
    again.clean([], [_image(A)])
    assert store.removed == [A]
    assert file.read_text() == "[]"


@pytest.mark.parametrize("content", ["", "{", "3", "null"])
def test_a_list_that_cannot_be_read_removes_nothing(store: FakeStore, clock: Any, tmp_path: Path, content: str) -> None:
    file = tmp_path / "brought.json"
    file.write_text(content)
    cleaner = _cleaner(store, clock, state_file=file)
    cleaner.clean([], [_image(A)])
    clock.advance(3600)
    cleaner.clean([], [_image(A)])
    assert store.removed == []


@pytest.mark.parametrize("wanted", [DIGEST, B])
def test_an_image_that_is_wanted_by_another_of_its_names_stays(store: FakeStore, clock: Any, wanted: str) -> None:
    cleaner = _cleaner(store, clock)
    cleaner.brought(A)
    cleaner.brought(B)
    for _ in range(3):
        cleaner.clean([wanted], [_image(A, B, DIGEST)])
        clock.advance(3600)
    assert store.removed == []
