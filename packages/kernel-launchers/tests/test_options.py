import pytest

from kernel_launchers._version import __version__
from kernel_launchers.errors import InvalidOptions
from kernel_launchers.options import read_options

MOUNTED = {"KERNEL_CONNECTION_FILE": "/c.json"}


def test_a_pod_needs_no_options():
    options = read_options([], {**MOUNTED, "KERNEL_ID": "k"})
    assert (options.language, options.connection_file, options.kernel_id, options.spark_mode) == (
        "python",
        "/c.json",
        "k",
        "none",
    )


@pytest.mark.parametrize("prefix", ["--", "--RemoteProcessProxy."])
def test_every_option_is_known_in_its_older_form(prefix):
    arguments = {
        "kernel-id": "k",
        "port-range": "40000..50000",
        "response-address": "10.0.0.1:8877",
        "public-key": "abc",
        "spark-context-initialization-mode": "lazy",
        "kernel-class-name": "a.B",
        "cluster-type": "spark",
    }
    options = read_options([part for name, value in arguments.items() for part in (prefix + name, value)], {})
    assert options.kernel_id == "k"
    assert options.port_range == (40000, 50000)
    assert options.response_address == "10.0.0.1:8877"
    assert options.connection_file is None
    assert (options.spark_mode, options.kernel_class, options.cluster_type) == ("lazy", "a.B", "spark")


def test_the_command_line_wins_over_the_environment():
    assert read_options(["--language", "r", "/given.json"], {**MOUNTED, "KERNEL_LANGUAGE": "scala"}).language == "r"
    assert read_options(["/given.json"], MOUNTED).connection_file == "/given.json"


def test_a_start_by_phone_home_takes_its_settings_from_the_environment_of_older_gateways():
    options = read_options([], {"EG_RESPONSE_ADDRESS": "h:1", "EG_PUBLIC_KEY": "p", "KERNEL_ID": "k", "EG_PORT_RANGE": "0..0"})
    assert (options.response_address, options.public_key) == ("h:1", "p")


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        ([], {}, "neither a connection file"),
        (["--response-address", "h:1"], {}, "needs --kernel-id"),
        (["--language", "cobol"], MOUNTED, "--language must be one of"),
        (["--spark-context-initialization-mode", "soon"], MOUNTED, "none, lazy, eager"),
        (["--port-range", "1..2"], MOUNTED, "must lie between"),
        (["--port-range", "5000"], MOUNTED, "lowest"),
        (["--unknown"], MOUNTED, "unrecognized"),
    ],
)
def test_what_cant_be_meant_is_refused_in_words(arguments, environment, words):
    with pytest.raises(InvalidOptions, match=words):
        read_options(arguments, environment)


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as exit_:
        read_options(["--version"], {})
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"launch-kernel {__version__}\n"
