"""No value that a client can send changes anything but the leaves where a template prints it."""

import re

from hypothesis import given
from hypothesis import strategies as st

from enterprise_gateway.errors import GatewayError
from enterprise_gateway.launch.plan import LaunchSettings, build_plan
from enterprise_gateway.launch.policy import Policy
from enterprise_gateway.launch.request import KernelFacts, recorded_request
from enterprise_gateway.launch.template import DEFAULT_TEMPLATE, Dialect, PodTemplate, render

# What a value would need to leave its place: the grammars of Jinja, YAML, shells, Kubernetes and of the tokens themselves.
FRAGMENTS = [
    "\nprivileged: true",
    '"\nhostNetwork: true\nx: "',
    "'}]}\n---\nkind: ClusterRoleBinding\n",
    "\n  securityContext: {privileged: true}\n",
    "\r\n",
    "\t",
    "\u2028",
    "\x85",
    "\x00",
    "\ufeff",
    "{{ 7*7 }}",
    "{{ ''.__class__.__mro__ }}",
    "{% raw %}",
    "{# ",
    "${kernel_id}",
    "$(HOME)",
    "$$(X)",
    "`id`",
    "; rm -rf /",
    "*anchor",
    "&a [*a,*a]",
    "!!python/object/apply:os.system [id]",
    "? ",
    "- x",
    "---",
    "...",
    "a: b",
    "a:\n  - b",
    "null",
    "~",
    "true",
    "0x10",
    "1e3",
    "2026-01-01",
    "<<",
    "'",
    '"',
    "\\",
    "#",
    "%",
    "@",
    "[",
    "{",
    "|\n ",
    ">-\n ",
    "tk0000000000000000n0e",
    "../../etc/passwd",
    "\u0660",
    "\U0001f600",
    " ",
    "",
]
HOSTILE = st.one_of(
    st.text(max_size=40),
    st.sampled_from(FRAGMENTS),
    st.lists(st.sampled_from(FRAGMENTS), min_size=2, max_size=5).map("".join),
    st.sampled_from(["y" * 2000, "[" * 2000]),
)

OLDER_TEMPLATE = PodTemplate(
    "kind: Pod\nmetadata: {name: ${kernel_pod_name}, labels: {user: 'u-${kernel_username}', kernel: \"${kernel_id}\"}}\n"
    "spec:\n  serviceAccountName: ${kernel_service_account_name}\n  containers:\n  - image: ${kernel_image}\n"
    "    workingDir: ${kernel_working_dir}\n    resources: {limits: {memory: ${kernel_memory_limit}}}\n",
    Dialect.DOLLAR,
)
RICH_TEMPLATE = PodTemplate(
    """\
kind: Pod
metadata:
  annotations: {note: "by {{ kernel_username }} for {{ kernel_id }}"}
spec:
  nodeSelector: {pool: {{ kernel_pool | default('none') }}}
  containers:
  - name: "{{ kernel_id }}"
    image: {{ kernel_image | yaml_safe }}
    args: ["--name={{ kernel_name }}", "{{ kernel_name }}"]
    env:
    - {name: ONE, value: {{ kernel_one }}}
    - name: TWO
      value: |
        {{ kernel_two }}
    {% if kernel_cpus is defined or kernel_memory is defined %}
    resources:
      requests:
        {% if kernel_cpus is defined %}
        cpu: "{{ kernel_cpus }}"
        {% endif %}
        memory: {{ kernel_memory | tojson }}
    {% endif %}
    volumeMounts:
    {% for mount in kernel_volume_mounts %}
    - {{ mount | yaml_safe }}
    {% endfor %}
  volumes:
  {% for volume in kernel_volumes %}
  - name: {{ volume.name | yaml_safe }}
    nfs: {{ volume.nfs | tojson }}
  {% endfor %}
""",
    Dialect.JINJA,
)


def printed(template):
    """Return the variables that a template prints."""
    found = re.findall(r"\{\{ (kernel_\w+)|\$\{(kernel_\w+)\}", template.source)
    return sorted({newer or older for newer, older in found})


def flat(tree, path=()):
    """Return every leaf of a tree by its path."""
    if isinstance(tree, dict):
        return {where: leaf for key, value in tree.items() for where, leaf in flat(value, (*path, key)).items()}
    if isinstance(tree, list):
        return {where: leaf for index, value in enumerate(tree) for where, leaf in flat(value, (*path, index)).items()}
    return {path: tree}


def shape(tree):
    """Return a tree with the type of each leaf in its place."""
    return {path: type(leaf) for path, leaf in flat(tree).items()}


def expanded(path):
    """Tell whether the kubelet expands $(NAME) in a leaf, so that a value has its dollars doubled there."""
    return path[-1] == "value" or "args" in path


def check(template, values, more=None):
    """Assert that each value stands, whole, in its own leaves, and that nothing else differs from a harmless rendering."""
    marks = {name: f"harmless{index}x" for index, name in enumerate(values)}
    harmless = flat(render(template, {**marks, **(more or {})})[0])
    tree = flat(render(template, {**values, **(more or {})})[0])
    assert tree.keys() == harmless.keys()
    for path, leaf in harmless.items():
        expected = leaf
        if isinstance(leaf, str):
            parts = re.split(f"({'|'.join(marks.values())})", leaf)
            named = {mark: name for name, mark in marks.items()}
            whole = [values[named[part]] if part in named else part for part in parts]
            expected = "".join(part.replace("$", "$$") if expanded(path) else part for part in whole)
        assert tree[path] == expected, path


def test_a_value_of_a_mebibyte_stays_in_its_leaves():
    values = dict.fromkeys(printed(RICH_TEMPLATE), "{{ x }}\n- y: 'z" * 87_382)
    check(RICH_TEMPLATE, values, {"kernel_volumes": [], "kernel_volume_mounts": []})


def all_of(template):
    return st.fixed_dictionaries(dict.fromkeys(printed(template), HOSTILE))


@given(all_of(DEFAULT_TEMPLATE))
def test_a_value_stays_in_its_leaves_of_the_built_in_template(values):
    values.pop("kernel_volumes"), values.pop("kernel_volume_mounts")
    check(DEFAULT_TEMPLATE, values)


@given(all_of(OLDER_TEMPLATE))
def test_a_value_stays_in_its_leaves_of_an_older_template(values):
    check(OLDER_TEMPLATE, values)


@given(all_of(RICH_TEMPLATE), HOSTILE, HOSTILE)
def test_a_value_stays_in_its_leaves_of_a_rich_template_and_so_does_one_of_a_volume(values, one, other):
    more = {
        "kernel_volumes": [{"name": one, "nfs": {"server": other, "path": one}}],
        "kernel_volume_mounts": [{"name": one, "mountPath": other}],
    }
    check(RICH_TEMPLATE, values, more)
    tree = render(RICH_TEMPLATE, {**values, **more})[0]
    assert tree["spec"]["volumes"] == more["kernel_volumes"]
    assert tree["spec"]["containers"][0]["volumeMounts"] == more["kernel_volume_mounts"]


FREE = ("KERNEL_POD_NAME", "KERNEL_FOO", "KERNEL_WORKING_DIR", "KERNEL_EXTRA_SPARK_OPTS")
TYPED = ("KERNEL_CPUS", "KERNEL_MEMORY_LIMIT", "KERNEL_GPUS", "KERNEL_UID", "KERNEL_GID", "KERNEL_IMAGE", "KERNEL_NAMESPACE")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")


def plan(environment, username):
    facts = KernelFacts(kernel_id="0b5c6f2e", kernel_name="k", username=username, language="python")
    request = recorded_request(kernel=facts, environment=environment, judged=environment)
    return build_plan(
        request=request.in_pod(default_image="a/b", mirror_working_dirs=True),
        policy=Policy(),
        settings=LaunchSettings(gateway_namespace="gateway"),
        template=DEFAULT_TEMPLATE,
        command=("launch-kernel",),
        connection_file="{}",
        facts={},
        launch_id="l1",
    )


@given(
    st.fixed_dictionaries(dict.fromkeys(FREE, HOSTILE)),
    st.fixed_dictionaries({}, optional=dict.fromkeys(TYPED, HOSTILE)),
    HOSTILE,
)
def test_every_object_of_a_start_has_the_shape_of_a_harmless_one_or_there_is_no_start(free, typed, username):
    try:
        made = plan({**free, **typed}, username)
    except GatewayError:
        return
    # What was understood may have other leaves (a limit, a folder); it is a quantity, a number or a path then.
    understood = {**free, **dict.fromkeys(set(typed) & {"KERNEL_CPUS", "KERNEL_MEMORY_LIMIT", "KERNEL_GPUS"}, "1")}
    understood = {name: value for name, value in understood.items() if typed.get(name, "x").strip()}
    working_dir = "/x" if free["KERNEL_WORKING_DIR"].strip() else ""
    harmless = plan(
        {**dict.fromkeys(FREE, "x"), **dict.fromkeys(typed, ""), **understood, "KERNEL_WORKING_DIR": working_dir}, "x"
    )
    for mine, theirs in (
        (made.pod, harmless.pod),
        (made.secret, harmless.secret),
        (made.namespace_document, harmless.namespace_document),
        (made.role_binding, harmless.role_binding),
    ):
        assert shape(mine) == shape(theirs)
    assert NAME.fullmatch(made.names.pod)
    assert NAME.fullmatch(made.namespace)
    assert all(LABEL.fullmatch(value) for value in made.pod["metadata"]["labels"].values())
    environment = {entry["name"]: entry["value"] for entry in made.pod["spec"]["containers"][0]["env"]}
    assert environment["KERNEL_FOO"].replace("$$", "$") == free["KERNEL_FOO"]
