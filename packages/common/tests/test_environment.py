from dataclasses import dataclass

import pytest

from enterprise_gateway_common.environment import (
    SettingError,
    boolean,
    choice,
    declarations,
    integer,
    names,
    number,
    optional,
    ordered_names,
    read_environment,
    setting,
    text,
    unknown_names,
)


@dataclass(frozen=True)
class Settings:
    port: int = setting(1, integer(0, 10), environment=("NEW_PORT", "OLD_PORT"), group="a", help="The port.")
    token: str = setting("", text, environment=("TOKEN",), group="a", help="The token.", secret=True)
    secret_number: int = setting(0, integer(), environment=("SECRET_NUMBER",), group="a", help="x", secret=True)
    limit: int | None = setting(None, optional(integer(0)), environment=("LIMIT",), group="b", help="x")


def test_the_newest_name_wins_over_an_older_one():
    values, warnings = read_environment(Settings, {"OLD_PORT": "2", "NEW_PORT": "3"})
    assert values == {"port": 3}
    assert warnings == []


def test_an_older_name_works_and_is_reported():
    values, warnings = read_environment(Settings, {"OLD_PORT": "2"})
    assert values == {"port": 2}
    assert warnings == ["OLD_PORT is an older name of NEW_PORT and still works; use the newer one."]


def test_a_name_that_no_setting_reads_is_told_with_the_one_that_it_looks_like():
    environment = {"NEW_PROT": "1", "NEW_SOMETHING": "1", "NEW_PORT": "1", "NEW_ELSEWHERE": "1", "PATH": "/bin"}
    assert unknown_names(Settings, environment, prefix="NEW_", others=frozenset({"NEW_ELSEWHERE"})) == [
        "NEW_PROT is no setting and has no effect; did you mean NEW_PORT?",
        "NEW_SOMETHING is no setting and has no effect.",
    ]


@pytest.mark.parametrize("name", ["NEW_SERVICE_HOST", "NEW_SERVICE_PORT_HTTP", "NEW_PORT_8888_TCP", "NEW_X_PORT_1_UDP_ADDR"])
def test_what_kubernetes_says_of_a_service_is_no_mistake(name):
    assert unknown_names(Settings, {name: "1"}, prefix="NEW_") == []


def test_a_setting_that_the_environment_does_not_name_is_absent():
    assert read_environment(Settings, {"PATH": "/bin"}).values == {}


def test_a_value_that_cannot_be_parsed_names_its_variable_and_setting():
    with pytest.raises(SettingError, match=r"^NEW_PORT \(port\): 'eleven' is not a whole number"):
        read_environment(Settings, {"NEW_PORT": "eleven"})


def test_a_secret_value_is_never_shown():
    with pytest.raises(SettingError) as caught:
        read_environment(Settings, {"SECRET_NUMBER": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_declarations_stand_in_the_order_of_the_fields_and_carry_their_names():
    assert [declaration.name for declaration in declarations(Settings)] == ["port", "token", "secret_number", "limit"]


@pytest.mark.parametrize(
    ("written", "value"), [("true", True), ("YES", True), ("1", True), ("False", False), ("", False), ("off", False)]
)
def test_booleans(written, value):
    assert boolean.parse(written) is value


def test_a_word_that_is_no_boolean_is_refused():
    with pytest.raises(ValueError, match="write true or false"):
        boolean.parse("maybe")


@pytest.mark.parametrize("written", ["11", "-1", "1_0", "٣", "", "1.5"])
def test_integers_outside_their_bounds_or_in_other_digits_are_refused(written):
    with pytest.raises(ValueError, match=r"write it in|it must be"):
        integer(0, 10).parse(written)


@pytest.mark.parametrize("written", ["nan", "inf", "-inf", "x"])
def test_numbers_that_are_not_finite_are_refused(written):
    with pytest.raises(ValueError, match=r"write it in|it must be"):
        number().parse(written)


def test_nothing_at_all_means_that_an_optional_setting_is_not_set():
    assert optional(integer(0)).parse("") is None


def test_a_choice_is_compared_without_case_and_returned_as_declared():
    assert choice("IfNotPresent", "Always").parse("always") == "Always"


@pytest.mark.parametrize("written", ["a,b", " a , b ", "['a','b']", '["a", "b"]', "a,,b,"])
def test_lists_are_read_as_people_and_older_charts_write_them(written):
    assert names.parse(written) == {"a", "b"}
    assert ordered_names.parse(written) == ("a", "b")
