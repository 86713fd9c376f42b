"""Outputs of a cell from its messages."""

import nbformat
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enterprise_gateway_common.executions.outputs import Outputs


def outputs_of(*messages):
    outputs = Outputs()
    for kind, content in messages:
        outputs.apply(kind, content, 100)
    return outputs.as_nbformat()


def stream(text, name="stdout"):
    return "stream", {"name": name, "text": text}


def display(text, display_id=None, kind="display_data", **more):
    transient = {} if display_id is None else {"display_id": display_id}
    return kind, {"data": {"text/plain": text}, "metadata": {}, "transient": transient, **more}


def texts(outputs):
    return [output["data"]["text/plain"] if "data" in output else output["text"] for output in outputs]


def clear(*, wait):
    return "clear_output", {"wait": wait}


def test_a_stream_goes_on_in_the_output_before_it_unless_something_else_came_between():
    found = outputs_of(stream("a"), stream("b"), stream("c", "stderr"), stream("d"), display("e"), stream("f"), stream("g"))
    assert texts(found) == ["ab", "c", "d", "e", "fg"]
    assert [output.get("name") for output in found] == ["stdout", "stderr", "stdout", None, "stdout"]


def test_an_update_replaces_every_output_of_its_display_and_adds_none():
    found = outputs_of(
        display("1", "a"),
        display("2", "b"),
        display("3", "a", kind="execute_result", execution_count=7),
        display("new", "a", kind="update_display_data", metadata={"seen": True}),
        display("lost", "unknown", kind="update_display_data"),
    )
    assert texts(found) == ["new", "2", "new"]
    assert found[2]["output_type"] == "execute_result"
    assert found[2]["execution_count"] == 7
    assert found[0]["metadata"] == {"seen": True}
    assert "transient" not in found[0]


def test_a_display_that_comes_twice_is_shown_twice():
    assert texts(outputs_of(display("1", "a"), display("2", "a"))) == ["1", "2"]


@pytest.mark.parametrize(
    ("messages", "left"),
    [
        ([stream("old"), clear(wait=False)], []),
        ([stream("old"), clear(wait=False), stream("new")], ["new"]),
        ([stream("old"), clear(wait=True)], ["old"]),
        ([stream("old"), clear(wait=True), stream("new"), stream("er")], ["newer"]),
        ([stream("old"), clear(wait=True), display("new")], ["new"]),
        ([display("old", "a"), clear(wait=True), display("new", "a", kind="update_display_data")], ["new"]),
        ([stream("old"), clear(wait=True), clear(wait=False), stream("a"), stream("b")], ["ab"]),
    ],
)
def test_what_is_cleared_goes_at_once_or_with_what_takes_its_place(messages, left):
    assert texts(outputs_of(*messages)) == left


def test_an_error_keeps_its_traceback():
    content = {"ename": "ValueError", "evalue": "no", "traceback": ["one", "two"]}
    assert outputs_of(("error", content)) == [{"output_type": "error", **content}]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_CONTENT = st.dictionaries(
    st.sampled_from(["name", "text", "data", "metadata", "transient", "ename", "evalue", "traceback", "execution_count", "wait"]),
    _JSON | st.dictionaries(st.sampled_from(["text/plain", "application/json", "image/png"]), _JSON, max_size=3),
)
_KINDS = st.sampled_from(["stream", "display_data", "execute_result", "update_display_data", "clear_output", "error"])


@given(st.lists(st.tuples(_KINDS, _CONTENT), max_size=6))
@example([("execute_result", {"execution_count": False})])
@example([("execute_result", {"execution_count": -1})])
def test_whatever_a_kernel_says_its_outputs_are_valid_in_a_notebook(messages):
    cell = nbformat.v4.new_code_cell(outputs=nbformat.from_dict(outputs_of(*messages)))
    nbformat.validate(nbformat.v4.new_notebook(cells=[cell]))


@given(
    st.lists(
        st.one_of(
            st.builds(stream, st.text(max_size=3000), st.sampled_from(["stdout", "stderr"])),
            st.builds(display, st.just("x"), st.sampled_from([None, "a", "b"])),
            st.builds(lambda name: display("y", name, kind="update_display_data"), st.sampled_from(["a", "b"])),
        ),
        max_size=30,
    )
)
def test_a_bound_holds_and_the_newest_output_stays(messages):
    outputs, bound = Outputs(), 4000
    for kind, content in messages:
        outputs.apply(kind, content, 700)
        before, size = outputs.as_nbformat(), outputs.size
        assert outputs.cut(bound) == (size > bound)
        assert outputs.size <= bound
        if before and before[-1]["output_type"] != "stream":
            assert outputs.as_nbformat()[-1] == before[-1]


def test_a_gap_stands_where_outputs_were_left_out():
    outputs = Outputs()
    for number in range(20):
        outputs.apply(*display(str(number)), 200)
    outputs.cut(5000)
    found = outputs.as_nbformat()
    assert [output.get("name") for output in found].count("stderr") == 1
    beginning, end = next(output for output in found if "data" in output), found[-1]
    assert texts([beginning, end]) == ["0", "19"]
    assert "outputs of" in next(output["text"] for output in found if "text" in output)
