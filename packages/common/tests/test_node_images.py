import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enterprise_gateway_common.labels import ANNOTATION_PREFIX
from enterprise_gateway_common.node_images import (
    NODE_IMAGES_ANNOTATION,
    InvalidNodeImages,
    NodeImages,
    decode_node_images,
    encode_node_images,
)

_images = st.dictionaries(st.text(max_size=40), st.sampled_from(["present", "pulling", "waiting", "failed"]), max_size=30)


def test_the_annotation_is_one_of_ours() -> None:
    assert NODE_IMAGES_ANNOTATION.startswith(ANNOTATION_PREFIX)


def test_the_text_is_compact_versioned_json() -> None:
    text = encode_node_images(NodeImages("node-1", {"docker.io/a:1": "present"}))
    assert text == '{"v":1,"node":"node-1","images":{"docker.io/a:1":"present"},"omitted":0}'


@given(st.text(max_size=63), _images, st.integers(0, 1000))
def test_what_is_written_can_be_read(node: str, images: dict[str, str], omitted: int) -> None:
    value = NodeImages(node, images, omitted)
    assert decode_node_images(encode_node_images(value)) == value


@given(_images, st.integers(60, 400))
def test_the_bound_holds_and_nothing_is_lost_silently(images: dict[str, str], bound: int) -> None:
    text = encode_node_images(NodeImages("n", images), bound)
    read = decode_node_images(text)
    assert len(text.encode()) <= bound
    assert len(read.images) + read.omitted == len(images)


def test_present_images_are_kept_first() -> None:
    images = {f"docker.io/a{number}:1": "failed" for number in range(100)} | {"docker.io/z:1": "present"}
    read = decode_node_images(encode_node_images(NodeImages("n", images), 200))
    assert read.has("docker.io/z:1")
    assert read.omitted > 0


def test_the_order_in_which_images_were_found_makes_no_other_text() -> None:
    first = NodeImages("n", {"a": "present", "b": "failed"})
    second = NodeImages("n", {"b": "failed", "a": "present"})
    assert encode_node_images(first) == encode_node_images(second)


def test_only_a_present_image_is_there() -> None:
    value = NodeImages("n", {"a": "present", "b": "pulling"})
    assert (value.has("a"), value.has("b"), value.has("c")) == (True, False, False)


def test_a_bound_below_an_empty_list_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        encode_node_images(NodeImages("n" * 50, {}), 40)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"v":2,"node":"n","images":{}}',
        '{"v":1,"node":1,"images":{}}',
        '{"v":1,"node":"n","images":[]}',
        '{"v":1,"node":"n","images":{},"omitted":"x"}',
    ],
)
def test_what_this_version_cannot_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidNodeImages):
        decode_node_images(text)


def test_what_a_later_writer_adds_is_ignored() -> None:
    text = json.dumps({"v": 1, "node": "n", "images": {"a": "present", "b": {"new": 1}}, "omitted": 0, "more": True})
    assert decode_node_images(text) == NodeImages("n", {"a": "present"})
