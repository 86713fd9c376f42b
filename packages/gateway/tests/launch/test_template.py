import pytest

from enterprise_gateway.errors import LaunchFailed
from enterprise_gateway.launch.template import DEFAULT_TEMPLATE, Dialect, PodTemplate, find_template, render


def jinja(source, **variables):
    return render(PodTemplate(source, Dialect.JINJA), variables)[0]


def test_a_number_keeps_its_type_unless_it_is_quoted():
    tree = jinja("a: {{ uid }}\nb: '{{ uid }}'\nc: {{ text | int }}\nd: x{{ uid }}\n", uid=1000, text="7")
    assert tree == {"a": 1000, "b": "1000", "c": 7, "d": "x1000"}


def test_a_text_of_digits_stays_a_text():
    assert jinja("a: {{ v }}", v="0123") == {"a": "0123"}


def test_filters_of_the_template_apply_to_the_value():
    assert jinja("a: {{ (v | upper) ~ '-x' }}\nb: {{ w | default('none') }}", v="abc") == {"a": "ABC-x", "b": "none"}


def test_a_value_that_the_kubelet_would_expand_is_escaped_only_there():
    tree = jinja(
        "spec:\n  containers:\n  - command: ['{{ v }}', '$(HOME)']\n    env: [{name: A, value: '{{ v }}'}]\n"
        "    image: '{{ v }}'\n",
        v="$(X)$",
    )
    container = tree["spec"]["containers"][0]
    assert container == {"command": ["$$(X)$$", "$(HOME)"], "env": [{"name": "A", "value": "$$(X)$$"}], "image": "$(X)$"}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("a: {{ ''.__class__.__mro__ }}", "unsafe"),
        ("a: {% for %}", "line 1"),
        ("a: 'x{{ volumes }}'", "inside of a text"),
        ("{% filter upper %}a: {{ v }}{% endfilter %}", "changed afterwards"),
        ("a: {{ 1 // 0 }}", "ZeroDivisionError"),
        ("{% for i in range(100000000) %}x{% endfor %}", "fails with"),
        ("a: &x 1\nb: *x", "alias"),
        ("{% include '/etc/passwd' %}", "fails with"),
        ("- a", "no object"),
    ],
)
def test_a_template_that_cant_be_used_says_why(source, words):
    with pytest.raises(LaunchFailed, match=words):
        jinja(source, v="topsecret", volumes=[{"a": 1}])


def test_keys_that_become_the_same_are_refused():
    with pytest.raises(LaunchFailed, match="same"):
        jinja("{{ a }}: 1\n{{ b }}: 2", a="x", b="x")


def test_a_kernelspec_without_a_template_gets_the_built_in_one(tmp_path):
    assert find_template(tmp_path) is DEFAULT_TEMPLATE


@pytest.mark.parametrize("dialect", list(Dialect))
def test_a_kernelspecs_own_template_is_found(tmp_path, dialect):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / dialect.value).write_text("kind: Pod")
    assert find_template(tmp_path) == PodTemplate("kind: Pod", dialect)


@pytest.mark.parametrize(
    ("dialect", "source", "words"),
    [
        (Dialect.DOLLAR, "kind: Pod\nmetadata: {name: $kernel_username}", r"write \$\{kernel_username\} for \$kernel_username"),
        (Dialect.DOLLAR, "a: x-$kernel_id-y", r"write \$\{kernel_id\} for \$kernel_id"),
        (Dialect.DOLLAR, "- $kernel_id", r"write \$\{kernel_id\} for \$kernel_id"),
        (Dialect.DOLLAR, "$kernel_id: a", r"write \$\{kernel_id\} for \$kernel_id"),
        (
            Dialect.DOLLAR,
            "a: {{ kernel_id }}",
            r"write \$\{kernel_id\} for \{\{ kernel_id \}\}, or call the file kernel-pod.yaml.j2",
        ),
        (Dialect.JINJA, "a: $kernel_username", r"write \{\{ kernel_username \}\} for \$kernel_username"),
        (Dialect.JINJA, "a: '${kernel_username}'", r"write \{\{ kernel_username \}\} for \$\{kernel_username\}"),
    ],
)
def test_a_variable_that_would_never_be_filled_in_is_told_with_what_to_write(dialect, source, words):
    with pytest.raises(LaunchFailed, match=words):
        render(PodTemplate(source, dialect), {"kernel_username": "ada", "kernel_id": "k1"})


def test_other_dollars_of_a_template_and_those_of_values_are_left_alone():
    source = "# $kernel_id\na: $HOME $(KERNEL_ID) $$\nb: ${kernel_username}"
    tree = render(PodTemplate(source, Dialect.DOLLAR), {"kernel_username": "$kernel_id"})
    assert tree == [{"a": "$HOME $(KERNEL_ID) $$", "b": "$kernel_id"}]


def test_renderings_of_one_template_share_no_value():
    template = PodTemplate("kind: Pod\nspec: {user: {{ kernel_username }}, list: [{{ kernel_id }}]}", Dialect.JINJA)
    first = render(template, {"kernel_username": "alice", "kernel_id": "1"})
    first[0]["spec"]["list"].append("changed")
    second = render(template, {"kernel_username": "bob", "kernel_id": "2"})
    assert second == [{"kind": "Pod", "spec": {"user": "bob", "list": ["2"]}}]
