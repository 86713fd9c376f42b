import json
import os
import signal
import subprocess
import sys

import pytest
import zmq
from jupyter_client.blocking.client import BlockingKernelClient

from enterprise_gateway_common.connection import PORTS, connection_file
from kernel_launchers.cli import main


@pytest.fixture
def connection(tmp_path):
    """Connection file of a kernel on free ports of this machine, with CURVE keys."""
    public, secret = zmq.curve_keypair()
    text = connection_file(
        key="topsecret", kernel_name="python3", curve_publickey=public.decode(), curve_secretkey=secret.decode()
    )
    info = {**json.loads(text), "ip": "127.0.0.1"}
    context = zmq.Context()
    holders = [context.socket(zmq.REP) for _ in PORTS]
    for name, holder in zip(PORTS, holders, strict=True):
        info[name] = holder.bind_to_random_port("tcp://127.0.0.1")
    for holder in holders:
        holder.close()
    context.term()
    path = tmp_path / "connection.json"
    path.write_text(json.dumps(info))
    path.chmod(0o440)
    return path


@pytest.fixture
def kernel(connection, tmp_path):
    # In Pants' sandbox a program finds the packages by PYTHONPATH.
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment = {**inherited, "KERNEL_CONNECTION_FILE": str(connection), "HOME": "/", "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "kernel_launchers"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    client = BlockingKernelClient()
    client.load_connection_file(str(connection))
    # A heartbeat that begins before the kernel does counts it as dead after a second.
    client.start_channels(hb=False)
    client.wait_for_ready(timeout=60)
    yield process, client
    client.stop_channels()
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_a_python_kernel_answers_on_the_ports_of_its_file_and_ends_when_it_is_told_to(kernel, connection):
    process, client = kernel
    before = connection.read_bytes()
    assert client.execute_interactive("assert 6 * 7 == 42", timeout=30)["content"]["status"] == "ok"
    client.shutdown()
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert connection.read_bytes() == before
    # What it last wrote is shown to its user when it dies: nothing that isn't about that.
    assert output == ""


def test_sigterm_ends_a_kernel_after_what_it_registered_for_its_end(kernel):
    process, client = kernel
    client.execute_interactive("import atexit; atexit.register(print, 'goodbye', file=__import__('sys').__stderr__)", timeout=30)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert "goodbye" in output


def test_sigterm_ends_a_kernel_that_is_still_starting(connection, tmp_path, monkeypatch):
    # The module of the kernel's class is imported before the kernel listens.
    (tmp_path / "starting.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["--kernel-class-name", "starting.Kernel"], {"KERNEL_CONNECTION_FILE": str(connection)})
    assert end.value.code == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--language", "cobol"], 2, "--language"),
        (["--language", "r"], 3, "R isn't installed"),
        (["--language", "scala"], 3, "no Java or no Toree"),
        (["--spark-context-initialization-mode", "lazy"], 3, "pyspark isn't installed"),
        (["--spark-context-initialization-mode", "eager", "--cluster-type", "dask"], 2, "dask"),
        (["--kernel-class-name", "no.such.Kernel"], 2, "can't be imported"),
        (["/no/such/file"], 1, "can't be read"),
    ],
)
def test_what_keeps_a_kernel_from_starting_is_told_with_a_status_of_its_own(
    connection, arguments, status, words, capsys, monkeypatch
):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("HOME", str(connection.parent))
    assert main(arguments, {"KERNEL_CONNECTION_FILE": str(connection)}) == status
    assert words in capsys.readouterr().err
