"""Kernels of other projects behind the supervisor: bash_kernel, which ipykernel carries, and xeus-python, which is C++."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from tests.support.supervised_kernel import SupervisedKernel, parent_of, text_of, type_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(90)


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """One kernel, and code for it."""

    kernelspec: str
    module: str
    remember: str
    """Binds `kept` to 42."""
    recall: str
    """Prints `kept`, and nothing or an error where there is none."""
    error: str
    child: str
    """Prints `begun` and waits for a child that sleeps for five minutes."""
    process: str
    """Prints the number of the kernel's process."""
    crash: str
    """Prints `last words` and ends the kernel's process by SIGKILL."""


BASH = Foreign(
    kernelspec="bash",
    module="bash_kernel",
    remember="kept=42",
    recall="echo $kept",
    error="(exit 3)",
    child="echo begun; sleep 300",
    process="echo $PPID",
    crash="echo last words; sleep 0.5; kill -9 $PPID",
)

XEUS = Foreign(
    kernelspec="xpython",
    module="xpython_launcher",
    remember="kept = 42",
    recall="print(kept)",
    error="raise ValueError(3)",
    child="import subprocess; print('begun', flush=True); subprocess.run(['sleep', '300'])",
    process="import os; print(os.getpid())",
    crash="import os, time; print('last words', flush=True); time.sleep(0.5); os.kill(os.getpid(), 9)",
)

# There is no wheel for Linux on ARM.
_WITHOUT_XEUS = pytest.mark.skipif(importlib.util.find_spec("xpython_launcher") is None, reason="xeus-python isn't installed")
_BOTH = pytest.mark.parametrize("foreign", [pytest.param(BASH, id="bash"), pytest.param(XEUS, id="xeus", marks=_WITHOUT_XEUS)])


@pytest.fixture(scope="session")
def jupyter_path(tmp_path_factory):
    """Where bash_kernel's own installer wrote its kernelspec, and beside it one as xeus-python's wheel has it."""
    prefix = tmp_path_factory.mktemp("prefix")
    command = [sys.executable, "-m", "bash_kernel.install", "--prefix", str(prefix)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "HOME": str(prefix)})
    folder = prefix / "share" / "jupyter" / "kernels" / XEUS.kernelspec
    folder.mkdir(parents=True)
    argv = [Path(sys.executable).name, "-m", XEUS.module, "-f", "{connection_file}"]
    spec = {"display_name": "XPython", "argv": argv, "language": "python", "metadata": {"debugger": True}}
    (folder / "kernel.json").write_text(json.dumps(spec))
    return prefix / "share" / "jupyter"


@pytest.fixture
def start(tmp_path, jupyter_path):
    """Return a function that starts a kernel behind its supervisor."""
    started = []
    # The kernelspec of xeus-python names its interpreter by name only, as it is installed.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def start_kernel(foreign, *, by_command=False):
        named = ("--", sys.executable, "-m", foreign.module, "-f", "{connection_file}")
        command = named if by_command else ("--kernelspec", foreign.kernelspec)
        environment = {"PATH": path, "JUPYTER_PATH": str(jupyter_path)}
        started.append(SupervisedKernel(tmp_path, command=command, environment=environment))
        return started[-1]

    yield start_kernel
    for one in started:
        one.close()


def idle(msg_id):
    return lambda one: type_of(one) == "status" and parent_of(one) == msg_id and b'"idle"' in one.parts[3]


def run(gateway, code):
    """Return what a cell printed, once it is answered whole."""
    asked = gateway.execute(code)
    gateway.reply_to(asked)
    gateway.until(idle(asked))
    return text_of(gateway.entries, asked).strip()


def begin(gateway, foreign):
    """Return the id of a cell that waits for its child, and that child."""
    kernel = psutil.Process(int(run(gateway, foreign.process)))
    asked = gateway.execute(foreign.child)
    gateway.until(lambda one: type_of(one) == "stream" and parent_of(one) == asked)

    def sleepers():
        return [child for child in kernel.children(recursive=True) if child.name() == "sleep"]

    wait_until(sleepers, timeout=10)
    return asked, sleepers()[0]


@pytest.mark.parametrize("by_command", [False, True], ids=["kernelspec", "command"])
@_BOTH
def test_a_cell_runs_however_the_kernel_is_named(start, foreign, by_command):
    gateway = start(foreign, by_command=by_command).gateway()
    run(gateway, foreign.remember)
    assert run(gateway, foreign.recall) == "42"


@_BOTH
def test_an_error_is_told_as_one_and_the_kernel_goes_on(start, foreign):
    gateway = start(foreign).gateway()
    asked = gateway.execute(foreign.error)
    reply = gateway.reply_to(asked)
    assert (reply["status"], reply["evalue"]) == ("error", "3")
    gateway.until(lambda one: type_of(one) == "error" and parent_of(one) == asked)
    run(gateway, foreign.remember)
    assert run(gateway, foreign.recall) == "42"


@pytest.mark.parametrize("by_client", [False, True], ids=["gateway", "client"])
def test_an_interrupt_ends_the_child_that_a_cell_waits_for_and_the_kernel_goes_on(start, by_client):
    gateway = start(BASH).gateway()
    run(gateway, BASH.remember)
    asked, child = begin(gateway, BASH)
    waiting = gateway.execute(BASH.recall)
    if by_client:
        interrupt = gateway.send("control", "interrupt_request", {})
        assert gateway.reply_to(interrupt) == {"status": "ok"}
        gateway.until(idle(interrupt))
    else:
        assert gateway.command("interrupt") is None
    child.wait(timeout=10)
    # As bash_kernel says it, in the protocol's older word.
    assert gateway.reply_to(asked)["status"] == "abort"
    gateway.until(idle(asked))
    assert gateway.reply_to(waiting)["status"] == "ok"
    gateway.until(idle(waiting))
    assert text_of(gateway.entries, waiting).strip() == "42"


@_WITHOUT_XEUS
@pytest.mark.parametrize("by_client", [False, True], ids=["gateway", "client"])
def test_a_kernel_that_an_interrupt_ends_leaves_no_request_unanswered_and_no_child_behind(start, by_client):
    gateway = start(XEUS).gateway()
    asked, child = begin(gateway, XEUS)
    waiting = gateway.execute(XEUS.recall)
    if by_client:
        gateway.send("control", "interrupt_request", {})
    else:
        gateway.command("interrupt")
    state = gateway.phase("exited")
    assert state["final"] is False
    for msg_id in (asked, waiting):
        assert gateway.reply_to(msg_id)["ename"] == "DeadKernelError"
        gateway.until(idle(msg_id))
    child.wait(timeout=10)
    assert gateway.command("restart", life=1, reason=state["cause"]) is None
    gateway.ready()
    run(gateway, XEUS.remember)
    assert run(gateway, XEUS.recall) == "42"


@_BOTH
def test_control_is_answered_while_a_cell_runs_and_tells_of_the_container(start, foreign):
    gateway = start(foreign).gateway()
    begin(gateway, foreign)
    for kind, field in (("kernel_info_request", "language_info"), ("usage_request", "kernel_memory")):
        asked = gateway.send("control", kind, {})
        assert gateway.reply_to(asked)[field]
        gateway.until(idle(asked))


@_BOTH
def test_what_the_kernel_does_not_know_is_answered_in_its_place(start, foreign):
    gateway = start(foreign).gateway()
    for channel in ("shell", "control"):
        asked = gateway.send(channel, "unknown_request", {})
        assert gateway.reply_to(asked)["ename"] == "NoReplyError"
        gateway.until(idle(asked))


@_WITHOUT_XEUS
def test_the_kernel_asks_its_user(start):
    gateway = start(XEUS).gateway()
    asked = gateway.execute("print('hello,', input('name? '))")
    question = gateway.until(lambda one: type_of(one) == "input_request" and parent_of(one) == asked)
    assert json.loads(question.parts[3])["prompt"] == "name? "
    gateway.send("stdin", "input_reply", {"value": "Ada", "status": "ok"})
    assert gateway.reply_to(asked)["status"] == "ok"
    gateway.until(idle(asked))
    assert "hello, Ada" in text_of(gateway.entries, asked)


@_BOTH
def test_a_restart_forgets_the_names_and_keeps_the_process_that_gateways_are_connected_to(start, foreign):
    kernel = start(foreign)
    gateway = kernel.gateway()
    run(gateway, foreign.remember)
    first = run(gateway, foreign.process)
    assert gateway.command("restart", life=1) is None
    while gateway.phase("running")["life"] != 2:
        pass
    gateway.ready()
    assert run(gateway, foreign.recall) == ""
    assert run(gateway, foreign.process) != first
    assert not psutil.pid_exists(int(first))
    assert kernel.process.poll() is None


@_BOTH
def test_a_crash_is_told_with_its_cause_after_the_last_words(start, foreign):
    gateway = start(foreign).gateway()
    asked = gateway.execute(foreign.crash)
    state = gateway.phase("exited")
    assert state["cause"] == "The kernel was ended by SIGKILL."
    assert gateway.reply_to(asked)["evalue"] == state["cause"]
    gateway.until(idle(asked))
    assert text_of(gateway.entries, asked).strip() == "last words"


@_BOTH
def test_a_kernel_that_was_told_to_end_takes_the_supervisor_with_it(start, foreign):
    kernel = start(foreign)
    gateway = kernel.gateway()
    gateway.send("control", "shutdown_request", {"restart": False})
    assert gateway.phase("exited")["final"] is True
    assert kernel.process.wait(timeout=30) == 0
