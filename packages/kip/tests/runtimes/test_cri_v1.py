from pathlib import Path

import pytest

from kernel_image_puller.runtimes.cri_v1 import api_pb2, generate

FOLDER = Path(generate.__file__).parent


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_generated_code_is_that_of_the_proto_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    generate.generate(tmp_path)
    made = tmp_path / "kernel_image_puller/runtimes/cri_v1"
    for name in generate.GENERATED:
        assert (made / name).read_text() == (FOLDER / name).read_text(), f"run python -m {generate.__name__}"


def test_what_a_newer_runtime_adds_is_skipped() -> None:
    # Field 99 of an image, as a later version of the interface may have it.
    newer = api_pb2.Image(id="id", size=3).SerializeToString() + b"\x9a\x06\x03new"
    assert api_pb2.Image.FromString(newer).size == 3


@pytest.mark.parametrize(
    ("message", "field", "number"),
    [
        ("ImageSpec", "image", 1),
        ("Image", "id", 1),
        ("Image", "repo_tags", 2),
        ("Image", "repo_digests", 3),
        ("Image", "size", 4),
        ("Image", "pinned", 8),
        ("PullImageRequest", "auth", 2),
        ("PullImageRequest", "sandbox_config", 3),
        ("AuthConfig", "username", 1),
        ("AuthConfig", "password", 2),
        ("AuthConfig", "identity_token", 5),
        ("Container", "image_ref", 5),
        ("Container", "image_id", 10),
    ],
)
def test_field_numbers_are_those_of_the_interface(message: str, field: str, number: int) -> None:
    assert getattr(api_pb2, message).DESCRIPTOR.fields_by_name[field].number == number
