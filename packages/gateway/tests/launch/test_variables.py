import json

import pytest

from enterprise_gateway.launch.variables import InvalidVariable, KernelVariables, Resources, read_variables

ID = "01234567-89ab-4cde-8f01-23456789abcd"
VOLUMES = "- name: scratch\n  emptyDir: {}\n- name: data\r\n  nfs:\r\n    server: s\r\n    path: /x\r\n"


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("KERNEL_USERNAME", "alice", "username", "alice"),
        ("KERNEL_ID", ID.upper(), "kernel_id", ID),
        ("KERNEL_LAUNCH_TIMEOUT", "40.5", "launch_seconds", 40.5),
        ("KERNEL_UID", "0042", "uid", 42),
        ("KERNEL_GID", "0", "gid", 0),
        ("KERNEL_NAMESPACE", "team", "namespace", "team"),
        ("KERNEL_IMAGE", "a/b:1", "image", "a/b:1"),
        ("KERNEL_MEMORY", " 4Gi ", "resources", Resources(memory="4Gi")),
        ("KERNEL_VOLUMES", "[{name: x}]", "volumes", ({"name": "x"},)),
    ],
)
def test_a_variable_is_read_with_its_type(variable, text, field, value):
    assert getattr(read_variables({variable: text}), field) == value


@pytest.mark.parametrize("blank", ["", "  "])
@pytest.mark.parametrize(
    "variable",
    ["KERNEL_USERNAME", "KERNEL_ID", "KERNEL_LAUNCH_TIMEOUT", "KERNEL_UID", "KERNEL_NAMESPACE", "KERNEL_CPUS", "KERNEL_VOLUMES"],
)
def test_a_blank_variable_is_one_that_isnt_set(variable, blank):
    assert read_variables({variable: blank}) == KernelVariables()


def test_a_blank_variable_that_means_nothing_here_reaches_the_kernel():
    assert read_variables({"KERNEL_FOO": ""}).environment == {"KERNEL_FOO": ""}


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        *(("KERNEL_ID", text) for text in ("x", ID.replace("-", ""), "{" + ID + "}", "urn:uuid:" + ID, ID.replace("-4", "-1"))),
        *(("KERNEL_USERNAME", text) for text in ("x" * 257, "a\tb", "a\u202eb", "a\nb", "\x00")),
        *(("KERNEL_LAUNCH_TIMEOUT", text) for text in ("nan", "inf", "-1", "0", "soon")),
        *(("KERNEL_UID", text) for text in ("0 ", " 0", "+0", "0x0", "0.0", "1_000", "\u0660", "-1", "4294967296", "1e3")),
        ("KERNEL_UID", "9" * 5000),
        ("KERNEL_GID", "root"),
        ("KERNEL_CPUS", "many"),
        ("KERNEL_CPUS", "-1"),
        ("KERNEL_MEMORY", "1GB"),
        ("KERNEL_MEMORY", "1e999"),
        ("KERNEL_GPUS", "0.5"),
        ("KERNEL_GPUS_LIMIT", "1\nx: y"),
        ("KERNEL_VOLUMES", "{}"),
        ("KERNEL_VOLUMES", "[1]"),
        ("KERNEL_VOLUMES", "[&a {name: x}, *a]"),
        ("KERNEL_VOLUMES", "[{name: !!binary eA==}]"),
        ("KERNEL_VOLUME_MOUNTS", "{["),
        ("KERNEL_NAMESPACE", "Kube_System"),
        ("KERNEL_NAMESPACE", "../x"),
        ("KERNEL_SERVICE_ACCOUNT_NAME", "a b"),
        ("KERNEL_IMAGE", "--flag"),
        ("KERNEL_IMAGE", "http://x/y z"),
    ],
)
def test_what_cant_be_read_is_refused_by_its_name(variable, text):
    with pytest.raises(InvalidVariable, match=variable) as refused:
        read_variables({variable: text})
    assert refused.value.about_ids == (variable in {"KERNEL_UID", "KERNEL_GID"})


def test_volumes_in_several_lines_are_read_and_reach_the_kernel_in_one():
    variables = read_variables({"KERNEL_VOLUMES": VOLUMES})
    expected = [{"name": "scratch", "emptyDir": {}}, {"name": "data", "nfs": {"server": "s", "path": "/x"}}]
    assert list(variables.volumes) == expected
    assert "\n" not in variables.environment["KERNEL_VOLUMES"]
    assert json.loads(variables.environment["KERNEL_VOLUMES"]) == expected


def test_an_id_reaches_the_kernel_in_its_plain_form():
    assert read_variables({"KERNEL_UID": "0042"}).environment == {"KERNEL_UID": "42"}


def test_one_partys_word_counts_before_anothers_variable_by_variable():
    client = read_variables({"KERNEL_MEMORY": "1Gi", "KERNEL_UID": "7", "KERNEL_VOLUMES": "[]"})
    kernelspec = read_variables({"KERNEL_MEMORY": "2Gi", "KERNEL_CPUS": "2", "KERNEL_GID": "8", "KERNEL_VOLUMES": "[{name: x}]"})
    merged = client.over(kernelspec)
    assert merged.resources == Resources(memory="1Gi", cpus="2")
    assert (merged.uid, merged.gid, merged.volumes) == (7, 8, ())
    assert merged.environment["KERNEL_MEMORY"] == "1Gi"
    assert merged.environment["KERNEL_CPUS"] == "2"
