from enterprise_gateway.settings import GatewaySettings
from enterprise_gateway_common.environment import declarations, read_environment


def test_every_default_is_a_value_of_its_own_kind():
    for declaration in declarations(GatewaySettings):
        default = declaration.default
        written = ",".join(sorted(default)) if isinstance(default, frozenset | tuple) else "" if default is None else str(default)
        assert declaration.kind.parse(written) == default, declaration.name


def test_no_environment_name_belongs_to_two_settings():
    used = [name for declaration in declarations(GatewaySettings) for name in declaration.environment]
    assert len(used) == len(set(used))


def test_names_of_older_installations_are_read():
    older = {
        "EG_KERNEL_WHITELIST": "['r_kubernetes','python_kubernetes']",
        "EG_ENV_WHITELIST": "A,B",
        "EG_ENV_PROCESS_WHITELIST": "PATH",
        "EG_UID_BLACKLIST": "0,1",
        "EG_GID_BLACKLIST": "0,2",
        "KG_PORT": "9999",
    }
    values, warnings = read_environment(GatewaySettings, older)
    assert values == {
        "allowed_kernels": {"r_kubernetes", "python_kubernetes"},
        "client_envs": {"A", "B"},
        "inherited_envs": {"PATH"},
        "prohibited_uids": ("0", "1"),
        "prohibited_gids": ("0", "2"),
        "port": 9999,
    }
    assert len(warnings) == len(older)
