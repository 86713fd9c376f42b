import contextlib
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enterprise_gateway.errors import BadRequest
from enterprise_gateway.launch.environment import (
    EnvironmentBounds,
    EnvironmentRules,
    accepted_environment,
    inherited_environment,
)


def rules(*, client_envs=(), inherited_envs=(), bounds=(128, 65536, 262144)):
    count, value_size, total_size = bounds
    return EnvironmentRules(
        client_envs=frozenset(client_envs),
        inherited_envs=frozenset(inherited_envs),
        bounds=EnvironmentBounds(count=count, value_size=value_size, total_size=total_size),
    )


def test_kernel_variables_and_listed_ones_pass_and_others_are_dropped():
    env = {"KERNEL_A": "1", "LISTED": "2", "OTHER": "3"}
    assert accepted_environment(env, rules(client_envs={"LISTED"})) == {"KERNEL_A": "1", "LISTED": "2"}


def test_the_asterisk_lets_every_name_pass_but_those_that_change_what_runs():
    env = dict.fromkeys(["ANYTHING", "LD_PRELOAD", "PYTHONPATH", "PATH", "HTTPS_PROXY", "KUBECONFIG", "EG_AUTH_TOKEN"], "x")
    assert accepted_environment(env, rules(client_envs={"*"})) == {"ANYTHING": "x"}


def test_a_name_that_the_administrator_lists_passes_although_the_asterisk_does_not_mean_it():
    assert accepted_environment({"PYTHONPATH": "x"}, rules(client_envs={"*", "PYTHONPATH"})) == {"PYTHONPATH": "x"}


@pytest.mark.parametrize("name", ["KERNEL_GATEWAY", "KERNEL_LANGUAGE", "KERNEL_NAME", "EG_IMPERSONATION_ENABLED"])
def test_what_the_gateway_says_cannot_be_said_by_a_client(name):
    assert accepted_environment({name: "x"}, rules(client_envs={"*", name})) == {}


@pytest.mark.parametrize("name", ["A=B", "", "1A", "KERNEL_Ä", "KERNEL A", "KERNEL_" + "X" * 200, "KERNEL_\n"])
def test_a_name_that_cannot_be_a_variable_is_refused(name):
    with pytest.raises(BadRequest, match="can't be the name"):
        accepted_environment({name: "x"}, rules())


@pytest.mark.parametrize("value", ["a\0b", "a\nb", "a\rb", "\x1b[31m", "\x7f"])
def test_control_characters_are_refused_and_the_value_is_not_shown(value):
    with pytest.raises(BadRequest, match="value of KERNEL_X") as caught:
        accepted_environment({"KERNEL_X": value}, rules())
    assert value not in caught.value.message


@pytest.mark.parametrize("value", ["$HOME", "`id`", "${x}", "{{ x }}", "'\"", "ü😀", "\t", ""])
def test_every_other_value_reaches_the_kernel_as_it_is(value):
    assert accepted_environment({"KERNEL_X": value}, rules()) == {"KERNEL_X": value}


def test_a_lone_surrogate_is_refused():
    with pytest.raises(BadRequest, match="UTF-8"):
        accepted_environment({"KERNEL_X": "\ud800"}, rules())


@pytest.mark.parametrize(
    ("env", "bounds"),
    [({"KERNEL_A": "1", "KERNEL_B": "2"}, (1, 10, 100)), ({"KERNEL_A": "12"}, (1, 1, 100)), ({"KERNEL_A": "12"}, (1, 2, 9))],
)
def test_more_than_the_bounds_is_refused(env, bounds):
    with pytest.raises(BadRequest, match="at most"):
        accepted_environment(env, rules(bounds=bounds))


@given(st.dictionaries(st.text(), st.text()))
def test_no_request_gets_past_as_anything_but_texts_that_can_be_an_environment(env):
    try:
        accepted = accepted_environment(env, rules(client_envs={"*"}))
    except BadRequest:
        return
    for name, value in accepted.items():
        assert "\0" not in name + value
        assert "=" not in name
        assert env[name] == value


def test_of_the_gateways_own_environment_only_the_base_and_the_inherited_names_are_taken():
    gateway = {"PATH": "/bin", "LC_ALL": "C", "INHERITED": "1", "EG_AUTH_TOKEN": "secret", "AWS_SECRET_ACCESS_KEY": "secret"}
    own = rules(inherited_envs={"INHERITED"})
    assert set(inherited_environment(gateway, own, on_this_machine=True)) == {"PATH", "LC_ALL", "INHERITED"}
    assert set(inherited_environment(gateway, own, on_this_machine=False)) == {"INHERITED"}


def test_a_base_name_that_the_administrator_names_is_inherited_in_a_pod_too():
    own = rules(inherited_envs={"TZ"})
    assert inherited_environment({"TZ": "UTC", "HOME": "/root"}, own, on_this_machine=False) == {"TZ": "UTC"}


@pytest.mark.parametrize("name", ["KERNEL_VOLUMES", "KERNEL_VOLUME_MOUNTS"])
def test_line_ends_are_accepted_in_what_is_yaml_and_other_control_characters_are_not(name):
    assert accepted_environment({name: "- name: x\r\n- name: y\n"}, rules()) == {name: "- name: x\r\n- name: y\n"}
    with pytest.raises(BadRequest, match=f"value of {name} has a control character"):
        accepted_environment({name: "\x1b[31m"}, rules())


# Whatever a client may write, and pieces that an operating system takes for more than letters.
TEXTS = st.one_of(
    st.text(),
    st.text(alphabet="\0=\n\r\t \x7f\udc80ü$`/.", max_size=8),
    st.builds(lambda piece, times: piece * times, st.text(min_size=1, max_size=2), st.integers(1, 40_000)),
)
NAMES = st.one_of(TEXTS, st.builds("KERNEL_{}".format, st.text(alphabet="AZ_09=\0-ä ", max_size=140)))


@given(st.dictionaries(NAMES, TEXTS, max_size=6))
def test_whatever_is_accepted_can_be_given_to_a_program(env):
    with contextlib.suppress(BadRequest):
        accepted = accepted_environment(env, rules(client_envs={"*"}))
        subprocess.run(["/bin/true"], env=accepted, check=True)
