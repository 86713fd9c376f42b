import json
import os
import subprocess
import sys

import pytest

from enterprise_gateway.app import EnterpriseGatewayApp, main

FILE = "jupyter_enterprise_gateway_config.py"


@pytest.fixture
def application(monkeypatch, tmp_path):
    """Return a function that initialises an application with arguments, in an empty folder and environment."""
    for name in [name for name in os.environ if name.startswith(("EG_", "KG_", "JUPYTER"))]:
        monkeypatch.delenv(name)
    (tmp_path / "config").mkdir()
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)

    def initialise(*arguments):
        app = EnterpriseGatewayApp()
        app.initialize(list(arguments))
        return app.settings()

    return initialise


def test_the_command_line_wins_over_the_file_over_the_environment_over_the_default(application, monkeypatch, tmp_path):
    lines = "c.EnterpriseGatewayApp.port = 2002\nc.EnterpriseGatewayApp.cull_interval = 22\n"
    (tmp_path / "config" / FILE).write_text(lines)
    for name, value in (("EG_PORT", "1001"), ("EG_CULL_INTERVAL", "11"), ("EG_MAX_KERNELS", "5")):
        monkeypatch.setenv(name, value)
    settings = application("--EnterpriseGatewayApp.port=3003")
    assert (settings.port, settings.cull_interval, settings.max_kernels, settings.port_retries) == (3003, 22, 5, 50)


def test_older_places_of_settings_work_on_the_command_line(application):
    settings = application("--RemoteMappingKernelManager.cull_idle_timeout=77", "--MappingKernelManager.cull_connected=True")
    assert (settings.cull_idle_timeout, settings.cull_connected) == (77, True)


def test_older_names_of_lists_work_on_the_command_line(application):
    settings = application("--EnterpriseGatewayApp.env_whitelist=['A','B']", "--KernelSpecManager.whitelist=['r','python3']")
    assert (settings.client_envs, settings.allowed_kernels) == ({"A", "B"}, {"r", "python3"})


OLDER, NEWER = "RemoteMappingKernelManager.cull_idle_timeout", "EnterpriseGatewayApp.cull_idle_timeout"


@pytest.mark.parametrize(
    ("file", "arguments", "expected"),
    [
        (OLDER, [f"--{NEWER}=100"], 100),
        (NEWER, [f"--{OLDER}=100"], 100),
        (OLDER, [], 600),
        ("AsyncMappingKernelManager.cull_idle_timeout", [f"--{OLDER}=100"], 100),
    ],
)
def test_an_older_place_ranks_as_the_source_that_it_stands_in(application, monkeypatch, tmp_path, file, arguments, expected):
    monkeypatch.setenv("EG_CULL_IDLE_TIMEOUT", "11")
    (tmp_path / "config" / FILE).write_text(f"c.{file} = 600\n")
    assert application(*arguments).cull_idle_timeout == expected


def test_a_setting_wins_over_its_older_place_in_the_same_source(application, tmp_path):
    assert application(f"--{OLDER}=600", f"--{NEWER}=100").cull_idle_timeout == 100
    (tmp_path / "config" / FILE).write_text(f"c.{OLDER} = 600\nc.{NEWER} = 200\n")
    assert application().cull_idle_timeout == 200


def test_values_of_a_configuration_file_may_be_python_lists(application, tmp_path):
    (tmp_path / "config" / FILE).write_text("c.EnterpriseGatewayApp.client_envs = ['A', 'B']\n")
    assert application().client_envs == {"A", "B"}


def test_a_changed_file_is_read_again_and_one_that_cannot_be_used_ends_nothing(application, tmp_path, capsys):
    del application  # it is here for the empty environment
    file = tmp_path / "config" / FILE
    file.write_text("c.EnterpriseGatewayApp.max_kernels = 1\n")
    app = EnterpriseGatewayApp()
    app.initialize([])
    assert app.changed_settings() is None
    for number, (written, expected) in enumerate([("'many'", None), ("3", 3), ("(", None)], 1):
        file.write_text(f"c.EnterpriseGatewayApp.max_kernels = {written}\n")
        os.utime(file, (number, number))
        settings = app.changed_settings()
        assert (settings and settings.max_kernels) == expected
    file.write_text("")
    assert app.changed_settings().max_kernels is None
    said = capsys.readouterr().err.splitlines()
    assert sum("what was read before stays in force" in line for line in said) == 2
    assert all(line[:2] == "20" for line in said), "every line is an event with its time"


def run(*arguments, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("EG_", "KG_"))}
    command = [sys.executable, "-m", "enterprise_gateway", *arguments]
    return subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, timeout=30, check=False)


def test_a_value_that_cannot_be_parsed_ends_the_start_with_one_line_that_names_the_setting():
    ended = run(EG_PORT="abc")
    assert ended.returncode == 1
    assert "EG_PORT (port): 'abc' is not a whole number" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--EnterpriseGatewayApp.keyfile=x.pem"], "keyfile and client_ca need a certfile"),
        (["--EnterpriseGatewayApp.prohibited_uids=zero"], "prohibited_uids: write whole numbers"),
        (["--EnterpriseGatewayApp.port_range=1..2"], "ports must lie between"),
        (["--EnterpriseGatewayApp.authorizer_class=no.such.Class"], "authorizer_class: no.such.Class can't be imported"),
        (["--EnterpriseGatewayApp.auth_tokens_file=nowhere"], "auth_tokens_file: nowhere can't be read: No such"),
        (["--EnterpriseGatewayApp.policy_file=nowhere"], "policy_file: nowhere can't be read: No such"),
        (["--ip=203.0.113.5"], "203.0.113.5 can't be listened on: Cannot assign requested address"),
    ],
)
def test_a_setting_that_cannot_be_used_ends_the_start_with_one_line(arguments, said):
    ended = run(*arguments, "--port=0")
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prot=1"], "unknown argument --prot; did you mean --port?"),
        (["--prot", "1"], "unknown argument --prot; did you mean --port?"),
        (["--debg"], "unknown argument --debg; did you mean --debug?"),
        (["--auth_token=x"], "unknown argument --auth_token; write --EnterpriseGatewayApp.auth_token"),
        (["--nonsense=1"], "unknown argument --nonsense; --help-all lists every setting"),
        (["nonsense"], "unexpected argument 'nonsense': a setting begins with --"),
        (["--port=1", "--", "more"], "unexpected argument 'more'"),
        (
            ["--EnterpriseGatewayApp.auth_tokenn=x"],
            "EnterpriseGatewayApp.auth_tokenn is no setting of this gateway; did you mean auth_token?",
        ),
        (["--EnterpriseGatewyApp.port=1"], "there is no section EnterpriseGatewyApp; did you mean EnterpriseGatewayApp?"),
        (["--Nonsense.port=1"], "there is no section Nonsense; --help-all lists every setting"),
        (
            ["--MappingKernelManager.cull_idle_timeot=1"],
            "cull_idle_timeot is no setting of this gateway; did you mean cull_idle_timeout?",
        ),
        (["--port"], "expected one argument"),
    ],
)
def test_an_argument_that_nobody_knows_ends_the_start_with_one_line_and_status_2(application, capsys, arguments, said):
    with pytest.raises(SystemExit) as ended:
        application(*arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_the_program_ends_with_status_2_too():
    ended = run("--prot=1")
    assert (ended.returncode, ended.stderr) == (2, "jupyter-enterprise-gateway: unknown argument --prot; did you mean --port?\n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("c.EnterpriseGatewayApp.auth_tokenn = 'x'", "auth_tokenn is no setting of this gateway; did you mean auth_token?"),
        ("c.EnterpriseGatwayApp.auth_token = 'x'", "there is no section EnterpriseGatwayApp; did you mean EnterpriseGatewayApp?"),
    ],
)
def test_a_mistyped_setting_in_a_file_ends_the_start(application, tmp_path, capsys, line, said):
    (tmp_path / "config" / FILE).write_text(line + "\n")
    with pytest.raises(SystemExit) as ended:
        application()
    assert (ended.value.code, said in capsys.readouterr().err) == (2, True)


def test_what_other_programs_read_of_the_same_files_is_left_to_them(application, tmp_path):
    lines = [
        "c.ServerApp.port = 1",
        "c.MappingKernelManager.root_dir = '/'",
        "c.FileKernelSessionManager.enable_persistence = True",
    ]
    (tmp_path / "config" / FILE).write_text("\n".join(lines))
    app = EnterpriseGatewayApp()
    app.initialize(["--EnterpriseGatewayApp.authorizer_class=my.own.Judge", "--Judge.strict=True"])
    assert app._warnings == [
        "MappingKernelManager.root_dir is no setting of this gateway and has no effect.",
        "Settings of FileKernelSessionManager have no effect here.",
    ]


def test_a_variable_that_no_setting_reads_is_told_with_the_name_that_it_looks_like(application, monkeypatch):
    names = {
        "EG_AUTH_TOKENN": "x",
        "EG_MINE": "1",
        "EG_INHERITED_ENVS": "EG_MINE",
        "EG_LOG_LEVEL": "WARNING",
        "EG_SERVICE_HOST": "1",
    }
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    app = EnterpriseGatewayApp()
    app.initialize([])
    assert app._warnings == ["EG_AUTH_TOKENN is no setting and has no effect; did you mean EG_AUTH_TOKEN?"]


def test_a_file_that_comes_to_hold_a_mistyped_setting_ends_nothing(application, tmp_path, capsys):
    file = tmp_path / "config" / FILE
    file.write_text("c.EnterpriseGatewayApp.max_kernels = 1\n")
    app = EnterpriseGatewayApp()
    app.initialize([])
    file.write_text("c.EnterpriseGatewayApp.max_kernel = 1\n")
    os.utime(file, (1, 1))
    assert app.changed_settings() is None
    assert "max_kernel is no setting of this gateway; did you mean max_kernels?" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--help", "--help-all"])
def test_help_names_each_log_level_that_it_names_as_the_one_that_is_in_force(option):
    said = run(option).stdout
    levels = said.split("--log-level=<" if option == "--help" else "App.log_level=<")[1:]
    assert len(levels) == 1
    assert "Default: 'INFO'" in levels[0].split("--")[0]


def test_a_configuration_file_that_does_not_exist_ends_the_start(tmp_path):
    ended = run(f"--config={tmp_path}/nowhere.py", "--port=0")
    assert ended.returncode == 1
    assert f"there is no file {tmp_path}/nowhere.py" in ended.stderr


def test_a_configuration_file_with_a_mistake_ends_the_start(tmp_path):
    (tmp_path / FILE).write_text("c.EnterpriseGatewayApp.auth_token = 'x'\nnonsense(\n")
    ended = run("--port=0", JUPYTER_CONFIG_DIR=str(tmp_path))
    assert ended.returncode == 1
    assert "A configuration file can't be used: SyntaxError" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_ctrl_c_before_the_gateway_serves_ends_it_without_a_traceback(monkeypatch, capsys):
    def interrupted(_app, _argv=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(EnterpriseGatewayApp, "initialize", interrupted)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert (ended.value.code, capsys.readouterr().err) == (130, "")


def test_show_config_hides_the_token():
    ended = run("--show-config-json", EG_AUTH_TOKEN="hunter2", EG_PORT="1234")
    assert "hunter2" not in ended.stdout
    assert json.loads(ended.stdout)["EnterpriseGatewayApp"]["port"] == 1234


def test_help_says_every_setting_with_its_environment_name():
    said = run("--help-all").stdout
    assert "--EnterpriseGatewayApp.cull_idle_timeout=" in said
    assert "EG_CULL_IDLE_TIMEOUT" in said


def test_generate_config_writes_every_setting(tmp_path):
    ended = run("--generate-config", "-y", JUPYTER_CONFIG_DIR=str(tmp_path))
    assert ended.returncode == 0
    assert "# c.EnterpriseGatewayApp.max_kernels_per_user = -1" in (tmp_path / FILE).read_text()
