import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from enterprise_gateway_common.environment import SettingDeclaration, SettingError, declarations
from kernel_image_puller.cli import load_settings, make_parser
from kernel_image_puller.errors import ConfigurationError
from kernel_image_puller.settings import Settings
from kernel_image_puller.wiring import chosen_fetchers

# The names and defaults of the original; what differs stands in docs/decisions/0007-puller-defaults.md.
ORIGINAL = {
    "KIP_INTERVAL": 300.0,
    "KIP_LOG_LEVEL": "INFO",
    "KIP_NUM_PULLERS": 2,
    "KIP_NUM_RETRIES": 3,
    "KIP_PULL_POLICY": "IfNotPresent",
    "KIP_DEFAULT_CONTAINER_REGISTRY": "",
    "KIP_AUTH_TOKEN": "",
    "KIP_IMAGES": (),
    "KIP_INTERNAL_FETCHERS": ("KernelSpecsFetcher",),
    "KIP_CM_NAMESPACE": "enterprise-gateway",
    "KIP_CM_NAME": "kernel-images",
    "KIP_CM_KEY_NAME": "image-names",
    "KIP_GATEWAY_HOST": "http://localhost:8888",
    "KIP_VALIDATE_CERT": True,
    "KIP_CRI_ENDPOINT": "",
    "KIP_IMAGE_FETCHER": "",
}


def _environment(**values: str) -> dict[str, str]:
    # In Pants' sandbox a program finds the packages by PYTHONPATH.
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**inherited, "HOME": "/nowhere", "KIP_MIN_FREE_PERCENT": "0", **values}


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kernel_image_puller", *arguments]
    return subprocess.run(command, env=_environment(**environment), capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("name", "default"), ORIGINAL.items())
def test_settings_of_the_original_have_their_names_and_defaults(name: str, default: object) -> None:
    (declaration,) = [declaration for declaration in declarations(Settings) if name in declaration.environment]
    assert declaration.default == default


@pytest.mark.parametrize("declaration", declarations(Settings), ids=lambda declaration: declaration.name)
def test_the_help_explains_every_setting_with_its_name_in_the_environment(declaration: SettingDeclaration) -> None:
    shown = make_parser().format_help()
    assert re.search(rf"\b{declaration.environment[0]}\b", shown)
    assert _unwrapped(declaration.help) in _unwrapped(shown)


def _unwrapped(text: str) -> str:
    # A long word may be broken at a hyphen.
    return "".join(text.split())


def test_a_secret_has_no_option() -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(["--auth-token", "x"])


def test_the_command_line_wins_over_the_environment() -> None:
    arguments = vars(make_parser().parse_args(["--interval", "5", "--images", "a,b"]))
    settings, _ = load_settings(arguments, {"KIP_INTERVAL": "7", "KIP_NUM_PULLERS": "9"})
    assert (settings.interval, settings.num_pullers, settings.images) == (5.0, 9, ("a", "b"))


def test_blanks_between_images_are_no_part_of_a_name_and_nothing_is_no_image() -> None:
    assert load_settings({}, {"KIP_IMAGES": " a , b ,"})[0].images == ("a", "b")
    assert load_settings({}, {"KIP_IMAGES": ""})[0].images == ()


def test_a_variable_that_no_setting_reads_is_told_with_the_name_that_it_looks_like():
    _, warnings = load_settings({}, {"KIP_INTERVALL": "7", "KIP_SERVICE_HOST": "10.0.0.1", "EG_PORT": "1"})
    assert warnings == ["KIP_INTERVALL is no setting and has no effect; did you mean KIP_INTERVAL?"]


def test_an_unknown_pull_policy_is_warned_of_and_means_the_careful_one() -> None:
    settings, warnings = load_settings({}, {"KIP_PULL_POLICY": "Sometimes"})
    assert settings.pull_policy == "IfNotPresent"
    assert any("KIP_PULL_POLICY" in warning for warning in warnings)


def test_unverified_tls_is_warned_of() -> None:
    _, warnings = load_settings({}, {"KIP_VALIDATE_CERT": "false", "KIP_GATEWAY_HOST": "https://g"})
    assert any("KIP_VALIDATE_CERT" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"KIP_INTERVAL": "often"}, "KIP_INTERVAL"),
        ({"KIP_INTERVAL": "0"}, "KIP_INTERVAL"),
        ({"KIP_NUM_PULLERS": "0"}, "KIP_NUM_PULLERS"),
        ({"KIP_IMAGE_FETCHER": "NoSuchFetcher"}, "KIP_IMAGE_FETCHER"),
        ({"KIP_INTERNAL_FETCHERS": "NoSuchFetcher"}, "KIP_INTERNAL_FETCHERS"),
        ({"KIP_NODE_LABELS": "gpu"}, "KIP_NODE_LABELS"),
        ({"KIP_VALIDATE_CERT": "perhaps"}, "KIP_VALIDATE_CERT"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(environment: dict[str, str], name: str) -> None:
    with pytest.raises(SettingError, match=name):
        load_settings({}, environment)


@pytest.mark.parametrize(
    ("environment", "fetchers"),
    [
        ({}, ("KernelSpecsFetcher",)),
        ({"KIP_IMAGES": "a"}, ("StaticListFetcher",)),
        ({"KIP_IMAGES_FILE": "/x"}, ("FileImagesFetcher",)),
        ({"KIP_IMAGES": "a", "KIP_IMAGES_FILE": "/x"}, ("StaticListFetcher", "FileImagesFetcher")),
        ({"KIP_IMAGES": "a", "KIP_GATEWAY_HOST": "http://g"}, ("KernelSpecsFetcher",)),
        ({"KIP_IMAGES": "a", "KIP_IMAGE_FETCHER": "KernelSpecsFetcher"}, ("KernelSpecsFetcher",)),
        (
            {"KIP_IMAGE_FETCHER": "CombinedImagesFetcher", "KIP_INTERNAL_FETCHERS": "StaticListFetcher,KernelSpecsFetcher"},
            ("StaticListFetcher", "KernelSpecsFetcher"),
        ),
    ],
)
def test_the_settings_choose_the_fetchers(environment: dict[str, str], fetchers: tuple[str, ...]) -> None:
    assert chosen_fetchers(load_settings({}, environment)[0], environment) == fetchers


def test_a_fetcher_without_its_file_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="KIP_IMAGES_FILE"):
        chosen_fetchers(Settings(image_fetcher="FileImagesFetcher"), {})


def test_a_configuration_that_cannot_work_ends_with_status_2_and_one_line() -> None:
    done = _run("check", KIP_INTERVAL="often")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "KIP_INTERVAL" in done.stderr


def test_check_shows_what_would_happen_and_pulls_nothing(fake_runtime: Any, tmp_path: Path) -> None:
    fake_runtime.images = {"docker.io/library/here:1": 5_000_000}
    secret = '{"auths": {"r.example": {"username": "someone", "password": "s3cr3t"}}}'
    (tmp_path / "config.json").write_text(secret)
    done = _run(
        "check",
        KIP_CRI_ENDPOINT=f"unix://{fake_runtime.socket}",
        KIP_IMAGES="here:1,r.example/missing:1,Bad",
        KIP_PULL_SECRETS=str(tmp_path),
    )
    assert done.returncode == 1
    assert "fake 1 (CRI at" in done.stdout
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "yes, 5.0 MB" in rows["docker.io/library/here:1"]
    assert " pull " in rows["r.example/missing:1"]
    assert "r.example)" in rows["r.example/missing:1"]
    assert "refuse" in rows["Bad"]
    assert "s3cr3t" not in done.stdout + done.stderr
    assert fake_runtime.pulls == []


def test_once_pulls_what_is_missing_and_exits_by_the_result(fake_runtime: Any) -> None:
    import grpc

    fake_runtime.fail["docker.io/library/bad:1"] = (grpc.StatusCode.NOT_FOUND, "not found")
    endpoint = {"KIP_CRI_ENDPOINT": f"unix://{fake_runtime.socket}"}
    done = _run("--once", KIP_IMAGES="a:1,b:1", **endpoint)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "2 of 2 images are on this node")
    done = _run("--once", KIP_IMAGES="a:1,bad:1", **endpoint)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "1 of 2 images are on this node")
    assert [name for name, _, _ in fake_runtime.pulls].count("docker.io/library/a:1") == 1


@pytest.mark.parametrize(
    ("endpoint", "absent"),
    [
        ("cri", ["requests", "docker", "yaml", "kernel_image_puller.kubernetes_api"]),
        ("docker", ["grpc", "google.protobuf", "yaml"]),
    ],
)
def test_nothing_is_imported_that_the_mode_does_not_use(endpoint: str, absent: list[str]) -> None:
    program = f"""
import sys
from kernel_image_puller.cli import load_settings
from kernel_image_puller.clock import SystemClock
from kernel_image_puller.wiring import build
import kernel_image_puller.daemon
settings, _ = load_settings({{}}, {{"KIP_IMAGES": "a", "KIP_RUNTIME": "{endpoint}", "KIP_CRI_ENDPOINT": "unix:///nowhere.sock"}})
build(settings, {{}}, clock=SystemClock())
print([name for name in {absent!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], env=_environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_program_that_does_nothing_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    assert _run("write-noop", str(tmp_path / "noop")).returncode == 0
    assert os.access(tmp_path / "noop", os.X_OK)
    assert _run("write-noop").returncode == 2


def test_a_port_that_is_taken_is_named(fake_runtime: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = _run(KIP_CRI_ENDPOINT=f"unix://{fake_runtime.socket}", KIP_IMAGES="a", KIP_HTTP_PORT=port)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("set KIP_HTTP_PORT")


@pytest.fixture
def start(fake_runtime: Any) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the daemon against the fake runtime, and ends what a test has left."""
    running: list[subprocess.Popen[bytes]] = []

    def run(**environment: str) -> subprocess.Popen[bytes]:
        settings = _environment(KIP_CRI_ENDPOINT=f"unix://{fake_runtime.socket}", KIP_HTTP_PORT="0", **environment)
        process = subprocess.Popen([sys.executable, "-m", "kernel_image_puller"], env=settings, stderr=subprocess.DEVNULL)
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.wait(10)


def test_sigterm_cancels_the_pull_in_flight_and_ends(fake_runtime: Any, start: Any) -> None:
    name = "docker.io/library/slow:1"
    fake_runtime.blocked[name] = threading.Event()
    process = start(KIP_IMAGES="slow:1")
    assert fake_runtime.started.get(timeout=20) == name
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert fake_runtime.cancelled.get(timeout=5) == name


def test_sighup_begins_a_round_at_once(fake_runtime: Any, start: Any, tmp_path: Path) -> None:
    images = tmp_path / "images.yaml"
    images.write_text("- a:1")
    process = start(KIP_IMAGES_FILE=str(images), KIP_INTERVAL="3600")
    assert fake_runtime.started.get(timeout=20) == "docker.io/library/a:1"
    images.write_text("- b:1")
    process.send_signal(signal.SIGHUP)
    assert fake_runtime.started.get(timeout=20) == "docker.io/library/b:1"
    process.terminate()
    assert process.wait(5) == 0


def test_a_crash_of_a_thread_ends_the_process_with_a_message(fake_runtime: Any) -> None:
    program = """
import kernel_image_puller.rounds as rounds
def crash(self): raise ZeroDivisionError("unforeseen")
rounds.Rounds.round = crash
from kernel_image_puller.cli import main
main([])
"""
    environment = _environment(KIP_CRI_ENDPOINT=f"unix://{fake_runtime.socket}", KIP_IMAGES="a", KIP_HTTP_PORT="0")
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert "A thread has crashed" in done.stderr
    assert "unforeseen" in done.stderr
