import os
import subprocess
import sys
from pathlib import Path

import pytest

# In Pants' sandbox a program finds the packages by PYTHONPATH.
_INHERITED = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
_CONNECTION = (
    '{"transport": "tcp", "ip": "127.0.0.1", "key": "topsecret", "signature_scheme": "hmac-sha256",'
    ' "shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5}'
)


def processes_of(session):
    """Return the processes of a session that haven't ended."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.add(int(entry.name))
    return found


class Supervised:
    """A supervisor and the program that is its kernel, whose lines are read one by one."""

    def __init__(self, folder, code, *, options=(), environment=None, arguments=()):
        connection = folder / "connection.json"
        connection.write_text(_CONNECTION)
        command = ["--", sys.executable, "-u", "-c", code, *arguments] if code is not None else []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kernel_launchers", str(connection), *options, *command],
            env={**_INHERITED, "TMPDIR": str(folder), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def line(self):
        return self.process.stdout.readline().rstrip("\n")

    def send(self, number):
        self.process.send_signal(number)

    def ended(self):
        """Return what it wrote since, and its exit status."""
        rest, _ = self.process.communicate(timeout=30)
        return rest, self.process.returncode


@pytest.fixture
def supervised(tmp_path):
    """Return a function that starts a supervisor with a Python program as its kernel."""
    started = []

    def start(code, **how):
        started.append(Supervised(tmp_path, code, **how))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            # Not SIGKILL, which would leave nobody to end the kernel.
            one.process.terminate()
            one.process.wait(timeout=30)
        one.process.stdout.close()


@pytest.fixture
def session_of():
    return processes_of
