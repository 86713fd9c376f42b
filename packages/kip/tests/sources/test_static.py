from pathlib import Path

import pytest

from kernel_image_puller.errors import SourceFailed
from kernel_image_puller.sources.static import FileSource, StaticSource


def test_a_static_list_names_its_images() -> None:
    assert [request.image for request in StaticSource(images=("a", "b")).fetch().requests] == ["a", "b"]


def test_a_file_is_read_anew_every_time(tmp_path: Path) -> None:
    path = tmp_path / "images.yaml"
    source = FileSource(path=path)
    for name in ("a", "b"):
        path.write_text(f"- {name}")
        assert [request.image for request in source.fetch().requests] == [name]


def test_a_file_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed):
        FileSource(path=tmp_path / "nowhere").fetch()
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceFailed):
        FileSource(path=tmp_path / "binary").fetch()
