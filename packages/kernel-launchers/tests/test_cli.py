import base64
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import zmq
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
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
def launch(connection, tmp_path):
    """Return a function that starts the launcher."""
    started = []

    def start(*arguments, search=None, cwd=None):
        # In Pants' sandbox a program finds the packages by PYTHONPATH.
        inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        if search is not None:
            inherited["PYTHONPATH"] = os.pathsep.join(filter(None, (str(search), inherited.get("PYTHONPATH"))))
        environment = {**inherited, "KERNEL_CONNECTION_FILE": str(connection), "HOME": "/", "TMPDIR": str(tmp_path)}
        command = [sys.executable, "-c", "import sys; from kernel_launchers.cli import main; sys.exit(main())", *arguments]
        started.append(
            subprocess.Popen(command, env=environment, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)


@pytest.fixture
def kernel(launch, connection):
    process = launch()
    client = BlockingKernelClient()
    client.load_connection_file(str(connection))
    # A heartbeat that begins before the kernel does counts it as dead after a second.
    client.start_channels(hb=False)
    client.wait_for_ready(timeout=60)
    yield process, client
    client.stop_channels()


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


WAITS_AND_TIDIES_UP = """
import sys, time
try:
    print('begun')
    while True:
        time.sleep(0.02)
finally:
    print('tidied', file=sys.__stderr__)
"""


def test_sigterm_ends_a_kernel_in_the_middle_of_a_cell_which_tidies_up_first(kernel):
    # IPython takes what ends a process for what ends a cell.
    process, client = kernel
    client.execute(WAITS_AND_TIDIES_UP)
    while client.get_iopub_msg(timeout=30)["msg_type"] != "stream":
        pass
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert output.count("tidied") == 1


STARTING = """
import os, signal, zmq
from ipykernel.ipkernel import IPythonKernel as Kernel
OPEN = []
def bind(socket, *_):
    OPEN.append(socket.context.socket(zmq.PAIR))
    os.kill(os.getppid(), signal.SIGTERM)
    signal.pause()
zmq.Socket.bind = bind
"""


def test_sigterm_ends_a_kernel_that_is_still_starting(launch, tmp_path):
    # Half of its sockets are open by then, and what ends the other half waits for these.
    (tmp_path / "starting.py").write_text(STARTING)
    process = launch("--kernel-class-name", "starting.Kernel", search=tmp_path)
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM


def heeds(process, number):
    """Tell whether a process has asked for a signal."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) & 1 << (number - 1))


def test_sigterm_ends_a_launcher_that_has_no_kernel_yet(launch):
    # It waits for a gateway that nobody listens for.
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        process = launch("--kernel-id", "k", "--response-address", address, "--public-key", base64.b64encode(der).decode())
        while not heeds(process, signal.SIGTERM):
            os.sched_yield()
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM


def test_a_kernel_imports_nothing_from_its_working_directory_before_it_runs(launch, tmp_path):
    (tmp_path / "tempfile.py").write_text("raise SystemExit('mine')")
    process = launch("--kernel-class-name", "no.such.Kernel", cwd=tmp_path)
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, "can't be imported" in output) == (2, True)


def test_an_interrupt_ends_a_cell_that_waits_for_its_child_with_the_child(kernel):
    _, client = kernel
    code = "import subprocess, time\nc = subprocess.Popen(['sleep', '600'])\nprint('begun')\nwhile True: time.sleep(0.02)"

    def interrupt(message):
        if message["msg_type"] == "stream":
            client.control_channel.send(client.session.msg("interrupt_request", {}))

    reply = client.execute_interactive(code, output_hook=interrupt, timeout=30)
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    assert client.execute_interactive(f"assert c.wait() == {-signal.SIGINT}", timeout=30)["content"]["status"] == "ok"


def test_the_supervisor_is_small_and_has_one_thread(kernel):
    process, _ = kernel
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    assert int(status["Threads"]) == 1
    assert int(status["VmHWM"].split()[0]) < 25 * 1024


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--language", "cobol"], 2, "--language"),
        (["--language", "r"], 3, "R isn't installed"),
        (["--language", "scala"], 3, "has no Java"),
        (["--spark-context-initialization-mode", "lazy"], 3, "pyspark isn't installed"),
        (["--spark-context-initialization-mode", "eager", "--cluster-type", "dask"], 2, "dask"),
        (["/no/such/file"], 1, "can't be read"),
    ],
)
def test_what_keeps_a_kernel_from_starting_is_told_with_a_status_of_its_own(
    connection, arguments, status, words, capfd, monkeypatch
):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("HOME", str(connection.parent))
    assert main(arguments, {"KERNEL_CONNECTION_FILE": str(connection)}) == status
    assert words in capfd.readouterr().err
