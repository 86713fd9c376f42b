import pytest
from jupyter_client.kernelspec import KernelSpec

from enterprise_gateway.errors import BadRequest, Forbidden
from enterprise_gateway.launch.environment import environment_rules
from enterprise_gateway.provisioners.plain_request import plain_request
from enterprise_gateway.settings import GatewaySettings

KERNEL_ID = "01234567-89ab-4cde-8f01-23456789abcd"
SERVER = {"PATH": "/bin", "SECRET": "s", "TZ": "UTC", "KERNEL_USERNAME": "ada", "KERNEL_MEMORY": "1Gi"}


def request(environment, *, env=None, kernel_id=KERNEL_ID, **settings):
    return plain_request(
        kernel_id=kernel_id,
        kernel_name="python",
        kernel_spec=KernelSpec(language="python", env=env or {}),
        environment=environment,
        rules=environment_rules(GatewaySettings(**settings)),
    )


def test_a_kernel_gets_the_variables_for_kernels_and_nothing_else_of_the_server():
    made = request(SERVER)
    facts = {"KERNEL_ID": KERNEL_ID, "KERNEL_NAME": "python", "KERNEL_LANGUAGE": "python"}
    assert made.environment == {"KERNEL_USERNAME": "ada", "KERNEL_MEMORY": "1Gi", **facts}


@pytest.mark.parametrize("setting", ["inherited_envs", "client_envs"])
def test_what_a_setting_names_reaches_the_kernel(setting):
    made = request(SERVER, **{setting: frozenset({"TZ", "PATH", "*"})})
    assert (made.environment["TZ"], made.environment["PATH"]) == ("UTC", "/bin")
    assert "SECRET" not in made.environment


def test_the_kernelspecs_own_variables_are_filled_in_and_are_its_administrators():
    made = request(SERVER, env={"PATH": "/opt", "NAME": "${KERNEL_USERNAME}-${KERNEL_ID}", "KERNEL_UID": "0"})
    assert (made.environment["PATH"], made.environment["NAME"]) == ("/opt", f"ada-{KERNEL_ID}")
    assert (made.uid, made.judged.uid) == (0, None)


def test_the_servers_own_word_is_judged_by_the_settings():
    with pytest.raises(Forbidden, match="KERNEL_UID 0"):
        request({"KERNEL_UID": "0"})


def test_a_server_that_names_nobody_starts_kernels_of_nobody():
    assert request({}).kernel.username == "anonymous"


def test_an_id_of_another_form_is_refused():
    with pytest.raises(BadRequest, match="KERNEL_ID"):
        request({}, kernel_id="k1")
