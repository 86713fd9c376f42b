import json

import pytest

from enterprise_gateway.web.models import InvalidBody, NewKernel, NewSession, SessionChange, decode


def refusal(body, model=NewKernel):
    with pytest.raises(InvalidBody) as refused:
        decode(body if isinstance(body, bytes) else json.dumps(body).encode(), model)
    return str(refused.value)


SESSION = {"path": "a.ipynb", "type": "notebook"}


def test_a_mistyped_field_is_refused_with_the_field_that_was_meant():
    assert refusal({"nam": "python3"}) == "Unknown field `nam` in `$`; did you mean `name`?"
    assert refusal({**SESSION, "kernel": {"nmae": "r"}}, NewSession) == "Unknown field `nmae` in `$.kernel`; did you mean `name`?"


def test_a_field_that_is_like_none_is_refused_with_those_that_exist():
    assert refusal({"cwd": "folder"}).endswith("known here: `name`, `path`, `env`, `kernel_id`")
    assert refusal({"Path": "a", "kernel_name": "r"}, SessionChange).startswith(
        "Unknown field `Path` in `$`; did you mean `path`"
    )


def test_an_unknown_field_is_shown_bounded_and_escaped():
    assert len(refusal({"x" * 100_000: 1})) < 200
    assert "\\x00\\n" in refusal({"nam\0\n": 1})


@pytest.mark.parametrize(
    ("value", "kind"), [(3, "int"), (None, "null"), ([], "array"), ({}, "object"), (1.5, "float"), (True, "bool")]
)
def test_a_wrong_type_in_env_is_reported_with_the_variable(value, kind):
    env = {"KERNEL_A": "right", "KERNEL_B": value, "KERNEL_C": 1}
    assert refusal({"env": env}) == f"Expected `str`, got `{kind}` - at `$.env.KERNEL_B`"
    assert refusal({**SESSION, "kernel": {"env": env}}, NewSession).endswith(f"`{kind}` - at `$.kernel.env.KERNEL_B`")


@pytest.mark.parametrize(
    "body",
    [
        b'{"env": {"A": 1}, "env": {}}',
        b'{"env": {"A": 1, "A": "x"}}',
        b'{"env": {"A": 1}, "env": []}',
    ],
)
def test_a_wrong_value_that_a_later_one_of_its_name_hides_is_refused_all_the_same(body):
    assert "Expected `str`, got `int`" in refusal(body)


def test_a_kernel_that_a_later_one_hides_is_refused_all_the_same():
    assert "got `int`" in refusal(b'{"path": "a", "type": "b", "kernel": {"env": {"A": 1}}, "kernel": 3}', NewSession)


KERNEL_MODEL = {"id": "k", "name": "python3", "last_activity": "now", "execution_state": "idle", "connections": 1, "reason": ""}


# What clients were seen to send: Jupyter Server's gateway client and Enterprise Gateway's own, JupyterLab and
# jupyter-kernel-client, JupyterLab's and Notebook 6's sessions, clients that are generated from Jupyter's API description.
@pytest.mark.parametrize(
    ("model", "body"),
    [
        (NewKernel, {"name": "python3", "env": {"KERNEL_USERNAME": "ada"}}),
        (NewKernel, {"name": "python3", "path": "folder"}),
        (NewKernel, {"name": "python3", "path": None, "kernel_id": None}),
        (NewSession, {**SESSION, "name": "", "kernel": {"name": "python3"}}),
        (NewSession, {**SESSION, "name": "a", "kernel": {"id": None, "name": "python3"}, "notebook": {"path": "a", "name": "a"}}),
        (NewSession, {**SESSION, "id": "", "name": "a", "kernel": KERNEL_MODEL}),
        (SessionChange, {"id": "s", "path": "b.ipynb"}),
        (SessionChange, {"id": "s", "kernel": KERNEL_MODEL}),
        (SessionChange, {**SESSION, "id": "s", "name": "a", "kernel": {"name": "r"}, "notebook": {"path": "a", "name": "a"}}),
    ],
)
def test_what_known_clients_send_is_accepted(model, body):
    assert isinstance(decode(json.dumps(body).encode(), model), model)
