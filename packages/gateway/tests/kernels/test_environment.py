import pytest
from hypothesis import given
from hypothesis import strategies as st

from enterprise_gateway.errors import BadRequest, Forbidden
from enterprise_gateway.kernels.environment import (
    EnvironmentBounds,
    EnvironmentRules,
    kernel_environment,
    launch_timeout,
    requested_environment,
)


def rules(*, client_envs=(), inherited_envs=(), bounds=(128, 65536, 262144)):
    count, value_size, total_size = bounds
    return EnvironmentRules(
        client_envs=frozenset(client_envs),
        inherited_envs=frozenset(inherited_envs),
        prohibited_uids=frozenset({0, 7}),
        prohibited_gids=frozenset({0}),
        impersonation_enabled=False,
        bounds=EnvironmentBounds(count=count, value_size=value_size, total_size=total_size),
    )


def test_kernel_variables_and_listed_ones_pass_and_others_are_dropped():
    env = {"KERNEL_A": "1", "LISTED": "2", "OTHER": "3"}
    assert requested_environment(env, rules(client_envs={"LISTED"})) == {"KERNEL_A": "1", "LISTED": "2"}


def test_the_asterisk_lets_every_name_pass_but_those_that_change_what_runs():
    env = dict.fromkeys(["ANYTHING", "LD_PRELOAD", "PYTHONPATH", "PATH", "HTTPS_PROXY", "KUBECONFIG", "EG_AUTH_TOKEN"], "x")
    assert requested_environment(env, rules(client_envs={"*"})) == {"ANYTHING": "x"}


def test_a_name_that_the_administrator_lists_passes_although_the_asterisk_does_not_mean_it():
    assert requested_environment({"PYTHONPATH": "x"}, rules(client_envs={"*", "PYTHONPATH"})) == {"PYTHONPATH": "x"}


@pytest.mark.parametrize("name", ["KERNEL_GATEWAY", "KERNEL_LANGUAGE", "EG_IMPERSONATION_ENABLED"])
def test_what_the_gateway_says_cannot_be_said_by_a_client(name):
    assert requested_environment({name: "x"}, rules(client_envs={"*", name})) == {}


@pytest.mark.parametrize("name", ["A=B", "", "1A", "KERNEL_Ä", "KERNEL A", "KERNEL_" + "X" * 200, "KERNEL_\n"])
def test_a_name_that_cannot_be_a_variable_is_refused(name):
    with pytest.raises(BadRequest, match="can't be the name"):
        requested_environment({name: "x"}, rules())


@pytest.mark.parametrize("value", ["a\0b", "a\nb", "a\rb", "\x1b[31m", "\x7f"])
def test_control_characters_are_refused_and_the_value_is_not_shown(value):
    with pytest.raises(BadRequest, match="value of KERNEL_X") as caught:
        requested_environment({"KERNEL_X": value}, rules())
    assert value not in caught.value.message


@pytest.mark.parametrize("value", ["$HOME", "`id`", "${x}", "{{ x }}", "'\"", "ü😀", "\t", ""])
def test_every_other_value_reaches_the_kernel_as_it_is(value):
    assert requested_environment({"KERNEL_X": value}, rules()) == {"KERNEL_X": value}


def test_a_lone_surrogate_is_refused():
    with pytest.raises(BadRequest, match="UTF-8"):
        requested_environment({"KERNEL_X": "\ud800"}, rules())


@pytest.mark.parametrize(
    ("env", "bounds"),
    [({"KERNEL_A": "1", "KERNEL_B": "2"}, (1, 10, 100)), ({"KERNEL_A": "12"}, (1, 1, 100)), ({"KERNEL_A": "12"}, (1, 2, 9))],
)
def test_more_than_the_bounds_is_refused(env, bounds):
    with pytest.raises(BadRequest, match="at most"):
        requested_environment(env, rules(bounds=bounds))


@pytest.mark.parametrize("written", ["0 ", " 0", "+0", "0x0", "0.0", "1_000", "\u0660", "-1", "", "4294967296", "root"])
def test_ids_are_whole_numbers_in_plain_digits(written):
    with pytest.raises(Forbidden, match="KERNEL_UID must be a whole number"):
        requested_environment({"KERNEL_UID": written}, rules())


@pytest.mark.parametrize("written", ["0", "00", "7", "007"])
def test_prohibited_ids_are_refused_however_they_are_written(written):
    with pytest.raises(Forbidden, match="may not run with KERNEL_UID"):
        requested_environment({"KERNEL_UID": written}, rules())


def test_an_id_is_passed_on_in_its_plain_form():
    assert requested_environment({"KERNEL_UID": "0042", "KERNEL_GID": "7"}, rules()) == {"KERNEL_UID": "42", "KERNEL_GID": "7"}


@given(st.dictionaries(st.text(), st.text()))
def test_no_request_gets_past_as_anything_but_texts_that_can_be_an_environment(env):
    try:
        accepted = requested_environment(env, rules(client_envs={"*"}))
    except (BadRequest, Forbidden):
        return
    for name, value in accepted.items():
        assert "\0" not in name + value
        assert "=" not in name
        assert env[name] == value or name in {"KERNEL_UID", "KERNEL_GID"}


def environment(**parts):
    empty = {"requested": {}, "kernelspec": {}, "gateway": {}, "facts": {}, "rules": rules(inherited_envs={"INHERITED"})}
    return kernel_environment(**{**empty, **parts})


def test_clients_win_over_the_kernelspec_over_what_is_inherited():
    made = environment(
        requested={"A": "client"}, kernelspec={"A": "spec", "INHERITED": "spec"}, gateway={"A": "gateway", "INHERITED": "gateway"}
    )
    assert (made["A"], made["INHERITED"]) == ("client", "spec")


def test_facts_win_over_everything():
    assert environment(requested={"KERNEL_ID": "client"}, facts={"KERNEL_ID": "fact"})["KERNEL_ID"] == "fact"


def test_of_the_gateways_own_environment_only_the_base_and_the_inherited_names_are_taken():
    gateway = {"PATH": "/bin", "LC_ALL": "C", "INHERITED": "1", "EG_AUTH_TOKEN": "secret", "AWS_SECRET_ACCESS_KEY": "secret"}
    assert set(environment(gateway=gateway)) == {"PATH", "LC_ALL", "INHERITED", "KERNEL_GATEWAY", "EG_IMPERSONATION_ENABLED"}


def test_variables_in_the_kernelspec_are_filled_from_the_request_and_unknown_ones_stay():
    made = environment(requested={"KERNEL_X": "$(id) ${KERNEL_X}"}, kernelspec={"A": "<${KERNEL_X}> ${UNKNOWN}"})
    assert made["A"] == "<$(id) ${KERNEL_X}> ${UNKNOWN}"


@pytest.mark.parametrize(("written", "seconds"), [(None, 30), ("40", 40), ("0.5", 1), ("1e9", 900)])
def test_the_launch_timeout_is_what_is_asked_for_within_its_bounds(written, seconds):
    requested = {} if written is None else {"KERNEL_LAUNCH_TIMEOUT": written}
    assert launch_timeout(requested, default=30, maximum=900) == seconds


@pytest.mark.parametrize("written", ["nan", "inf", "-1", "0", "soon", ""])
def test_a_launch_timeout_that_is_no_positive_number_is_refused(written):
    with pytest.raises(BadRequest, match="KERNEL_LAUNCH_TIMEOUT"):
        launch_timeout({"KERNEL_LAUNCH_TIMEOUT": written}, default=30, maximum=900)
