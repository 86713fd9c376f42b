import pytest

from kernel_image_puller.errors import SourceFailed
from kernel_image_puller.sources.entries import read_entries
from kernel_image_puller.wanted import ImageRequest, PullPolicy


def test_names_and_mappings_are_read() -> None:
    text = """
    - python:3.11
    - {image: gpu:1, pull_policy: Always, node_selector: {gpu: "yes"}}
    """
    assert read_entries(text, "list").requests == (
        ImageRequest("python:3.11", "list"),
        ImageRequest("gpu:1", "list", PullPolicy.ALWAYS, (("gpu", "yes"),)),
    )


@pytest.mark.parametrize(
    "entry",
    ["3", "[a]", "{}", "{image: ''}", "{image: 3}", "{image: a, pull_policy: Never}", "{image: a, node_selector: [x]}",
     "{image: a, node_selector: {x: 1}}", "{image: a, imagePullPolicy: Always}"],
)  # fmt: skip
def test_a_bad_entry_is_named_and_hides_no_other(entry: str) -> None:
    answer = read_entries(f"- {entry}\n- good:1\n", "list")
    assert [request.image for request in answer.requests] == ["good:1"]
    assert len(answer.problems) == 1
    assert "entry 1" in answer.problems[0]


@pytest.mark.parametrize("text", ["a: b", "just text", "{", "!!python/object/apply:os.system ['true']"])
def test_what_is_no_list_is_a_failure(text: str) -> None:
    with pytest.raises(SourceFailed):
        read_entries(text, "list")


def test_an_empty_list_names_nothing() -> None:
    assert read_entries("", "list").requests == ()
    assert read_entries("[]", "list").requests == ()
