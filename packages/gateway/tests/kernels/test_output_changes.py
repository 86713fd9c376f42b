"""What a follower is told of outputs that change."""

from hypothesis import given
from hypothesis import strategies as st

from enterprise_gateway.kernels.output_changes import OutputChanges


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def rich(text):
    return {"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}}


def apply(events, shown):
    """As a client does that follows."""
    for name, data in events:
        if name == "keep":
            del shown[data["outputs"] :]
        elif name == "output":
            shown[data["index"] : data["index"] + 1] = [data["output"]]
        else:
            before = shown[data["index"]]
            shown[data["index"]] = {**before, "text": before["text"] + data["text"]}


_OUTPUTS = st.lists(
    st.one_of(
        st.builds(stream, st.sampled_from(["", "a", "ab", "abc", "b"]), st.sampled_from(["stdout", "stderr"])),
        st.builds(rich, st.sampled_from(["a", "b"])),
    ),
    max_size=4,
)


@given(st.lists(_OUTPUTS, max_size=5))
def test_the_events_make_the_outputs_of_those_before(history):
    changes, shown = OutputChanges(), []
    for outputs in history:
        apply(changes.until(outputs), shown)
        assert shown == outputs


def test_nothing_is_told_twice_and_only_the_text_that_is_new():
    changes = OutputChanges()
    assert list(changes.until([stream("a")])) == [("output", {"index": 0, "output": stream("a")})]
    assert list(changes.until([stream("a")])) == []
    assert list(changes.until([stream("ab"), rich("c")])) == [
        ("text", {"index": 0, "text": "b"}),
        ("output", {"index": 1, "output": rich("c")}),
    ]
    assert list(changes.until([stream("x")])) == [
        ("keep", {"outputs": 1}),
        ("output", {"index": 0, "output": stream("x")}),
    ]
