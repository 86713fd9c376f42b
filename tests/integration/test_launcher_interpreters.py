"""The launcher on every Python that kernels' images have, as far as this machine has it.

Each gets an environment with the newest IPython kernel for it, which is kept for the next run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from tests.support.waiting import wait_until

from enterprise_gateway_common.connection import PORTS, connection_file

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(300)

VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
_PACKAGES = Path(__file__).parents[2] / "packages"
_SOURCES = os.pathsep.join(str(_PACKAGES / name / "src") for name in ("kernel-launchers", "common"))
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kernel-launchers-tests"


def _candidates(version: str) -> Iterator[str]:
    if found := shutil.which(f"python{version}"):
        yield found
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, pyenv.glob(f"versions/{version}.*/bin/python{version}"))


def find_interpreter(version: str) -> str | None:
    """Return a Python of a version; a shim for one that isn't there is none."""
    show = "import sys; print('%d.%d' % sys.version_info[:2])"
    for candidate in _candidates(version):
        answer = subprocess.run([candidate, "-c", show], check=False, capture_output=True, text=True)
        if answer.returncode == 0 and answer.stdout.strip() == version:
            return candidate
    return None


@pytest.fixture(scope="module", params=VERSIONS)
def python(request: pytest.FixtureRequest) -> str:
    """The Python of an environment that has an IPython kernel."""
    interpreter = find_interpreter(request.param)
    if interpreter is None:
        pytest.skip(f"there is no Python {request.param} on this machine")
    folder = _CACHE / request.param
    own = folder / "bin" / "python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([interpreter, "-m", "venv", str(folder)], check=True, capture_output=True)
        pip = [str(own), "-m", "pip", "install", "--quiet", "ipykernel"]
        answer = subprocess.run(pip, check=False, capture_output=True, text=True)
        if answer.returncode != 0:
            pytest.skip(f"no IPython kernel can be installed for Python {request.param}: {answer.stderr[-300:]}")
        (folder / "complete").touch()
    return str(own)


@pytest.fixture
def connection(tmp_path: Path) -> Path:
    info = {**json.loads(connection_file(key="topsecret", kernel_name="python3")), "ip": "127.0.0.1"}
    with ExitStack() as stack:
        for name in PORTS:
            holder = stack.enter_context(socket.socket())
            holder.bind(("127.0.0.1", 0))
            info[name] = holder.getsockname()[1]
    path = tmp_path / "connection.json"
    path.write_text(json.dumps(info))
    path.chmod(0o440)
    return path


def launch(python: str, folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    clean = {"PATH": "/usr/bin:/bin", "PYTHONPATH": _SOURCES, "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/", "TMPDIR": str(folder)}
    # With it SIGABRT prints what every thread does: `ended` shows where a kernel hangs that doesn't end.
    clean["PYTHONFAULTHANDLER"] = "1"
    return subprocess.Popen(
        [python, "-m", "kernel_launchers", *arguments],
        env=clean | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> str:
    """Return what a launcher and its kernel printed, once both have ended; where one doesn't, the failure shows its stacks."""
    try:
        return process.communicate(timeout=30)[0]
    except subprocess.TimeoutExpired:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in map(int, children or [process.pid]):
            os.kill(pid, signal.SIGABRT)
        output = process.communicate(timeout=30)[0]
        pytest.fail(f"not ended after 30 s; its children: {children}; printed, at last by those that were aborted:\n{output}")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def kernel(python: str, connection: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], BlockingKernelClient]]:
    process = launch(python, tmp_path, KERNEL_CONNECTION_FILE=str(connection))
    # A client gives up on a heart that doesn't beat, and on a loaded machine that may take a while to begin.
    wait_until(lambda: process.poll() is not None or listens(json.loads(connection.read_text())["hb_port"]), timeout=60)
    client = BlockingKernelClient()
    client.load_connection_file(str(connection))
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield process, client
    finally:
        client.stop_channels()
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_kernel_answers_and_ends_when_it_is_told_to(kernel):
    process, client = kernel
    assert client.execute_interactive("assert 6 * 7 == 42", timeout=30)["content"]["status"] == "ok"
    client.shutdown()
    output = ended(process)
    assert process.returncode == 0
    assert "topsecret" not in output


def test_a_kernel_ends_with_sigterm_and_its_own_exit_status(kernel):
    process, client = kernel
    client.execute_interactive("import atexit, os; atexit.register(os.write, 2, b'goodbye')", timeout=30)
    process.send_signal(signal.SIGTERM)
    output = ended(process)
    assert process.returncode == 128 + signal.SIGTERM
    assert "goodbye" in output


def test_a_kernel_ends_with_sigterm_in_the_middle_of_a_cell(kernel):
    process, client = kernel
    client.execute("import time\nprint('begun')\nwhile True: time.sleep(0.02)")
    while client.get_iopub_msg(timeout=30)["msg_type"] != "stream":
        pass
    process.send_signal(signal.SIGTERM)
    ended(process)
    assert process.returncode == 128 + signal.SIGTERM


def test_a_kernel_that_exits_gives_the_launcher_its_status(kernel):
    process, client = kernel
    client.execute("import os; os._exit(7)")
    ended(process)
    assert process.returncode == 7


def test_an_interrupt_ends_a_cell_with_the_process_that_it_started(kernel):
    _, client = kernel
    code = "import subprocess, time\nc = subprocess.Popen(['sleep', '600'])\nprint('begun')\nwhile True: time.sleep(0.02)"

    def interrupt(message):
        if message["msg_type"] == "stream":
            client.control_channel.send(client.session.msg("interrupt_request", {}))

    reply = client.execute_interactive(code, output_hook=interrupt, timeout=30)
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    assert client.execute_interactive(f"assert c.wait() == {-signal.SIGINT}", timeout=30)["content"]["status"] == "ok"


def test_spark_is_refused_in_words_where_it_isnt_installed(python, connection, tmp_path):
    arguments = ["--RemoteProcessProxy.spark-context-initialization-mode", "lazy", str(connection)]
    process = launch(python, tmp_path, *arguments)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "pyspark isn't installed" in output


def test_every_module_can_be_imported(python):
    """Where a module needs what an image may not have, it needs it when it is used."""
    folder = _PACKAGES / "kernel-launchers" / "src" / "kernel_launchers"
    paths = (path.relative_to(folder.parent).with_suffix("") for path in folder.rglob("[a-z]*.py"))
    modules = sorted(".".join(path.parts) for path in paths)
    code = f"import importlib; [importlib.import_module(name) for name in {modules!r}]"
    # The last releases of ipykernel for old interpreters bring a jupyter_core that warns unless it is told this.
    environment = {"PYTHONPATH": _SOURCES, "JUPYTER_PLATFORM_DIRS": "1"}
    subprocess.run([python, "-W", "error", "-c", code], check=True, env=environment)
