"""What the plugins of conftest.py promise: no test finds what another one left, and an order can be had again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

_TOP = Path(__file__).resolve().parents[2]
_PLUGINS = ("-p", "tests.support.isolation", "-p", "tests.support.order")

# What a test does, and what the next one must find.
_LEFT_BEHIND = {
    "a handler on a stream that is closed": (
        "logging.root.handlers[:] = [logging.StreamHandler()]",
        "logging.StreamHandler not in map(type, logging.root.handlers)",
    ),
    "a level": ("logging.getLogger('asyncio').setLevel(1)", "logging.getLogger('asyncio').level == 0"),
    "a level of the root": ("logging.root.setLevel(1)", "logging.root.level == logging.WARNING"),
    "a filter": ("logging.getLogger('asyncio').addFilter(print)", "not logging.getLogger('asyncio').filters"),
    "a new logger": ("logging.getLogger('new').propagate = False", "logging.getLogger('new').propagate"),
    "disabled logging": ("logging.disable(50)", "logging.root.manager.disable == 0"),
    "captured warnings": ("logging.captureWarnings(True)", "logging._warnings_showwarning is None"),
    "a record factory": ("logging.setLogRecordFactory(print)", "logging.getLogRecordFactory() is logging.LogRecord"),
    "a handler of a signal": ("signal.signal(15, signal.SIG_IGN)", "signal.getsignal(15) is signal.SIG_DFL"),
    "a blocked signal": ("signal.pthread_sigmask(signal.SIG_BLOCK, [10])", "not signal.pthread_sigmask(signal.SIG_BLOCK, [])"),
    "a variable": ("os.environ['LEFT'] = '1'", "'LEFT' not in os.environ"),
    "a variable that is gone": ("del os.environ['PATH']", "os.environ['PATH']"),
    "an event loop": ("asyncio.run(asyncio.sleep(0))", "not asyncio.get_event_loop_policy()._local._set_called"),
    "a policy": ("asyncio.set_event_loop_policy(Policy())", "type(asyncio.get_event_loop_policy()) is not Policy"),
    "no garbage collection": ("gc.disable()", "gc.isenabled()"),
    "thresholds": ("gc.set_threshold(1)", "gc.get_threshold()[0] > 1"),
    "frozen objects": ("gc.freeze()", "gc.get_freeze_count() == 0"),
    "a folder": ("os.chdir('/')", "os.getcwd() != '/'"),
    "a umask": ("os.umask(0o777)", "os.umask(0o022) != 0o777"),
    "an import path": ("sys.path.insert(0, '/nowhere')", "sys.path[0] != '/nowhere'"),
    "a singleton": ("Application.instance()", "not Application.initialized()"),
    "a bound of descriptors": (
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))",
        "resource.getrlimit(resource.RLIMIT_NOFILE)[0] != 64",
    ),
    "a default time limit": ("socket.setdefaulttimeout(1)", "socket.getdefaulttimeout() is None"),
}

_PROLOGUE = """
import asyncio, gc, logging, os, resource, signal, socket, sys, threading
from traitlets.config import Application
class Policy(asyncio.DefaultEventLoopPolicy): pass
"""


def run(folder, *arguments):
    """Run pytest in a process of its own, with this repository's plugins and nothing else of its configuration."""
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *_PLUGINS, *arguments]
    path = os.pathsep.join([str(_TOP), os.environ.get("PYTHONPATH", "")])
    # Plugins of libraries take longer to load than these tests to run.
    environment = {**os.environ, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False)


def test_no_test_finds_what_another_one_left(tmp_path):
    pairs = [
        f"def test_{number}_leaves(): {action}\ndef test_{number}_finds_no(): assert {expected}, {name!r}\n"
        for number, (name, (action, expected)) in enumerate(_LEFT_BEHIND.items())
    ]
    (tmp_path / "test_pairs.py").write_text(_PROLOGUE + "".join(pairs))
    done = run(tmp_path)
    assert f"{2 * len(_LEFT_BEHIND)} passed" in done.stdout, done.stdout


def test_a_test_that_leaves_a_thread_fails_and_the_next_one_doesnt(tmp_path):
    lines = (
        "from tests.support import isolation\n"
        "isolation._END_OF_A_THREAD_SECONDS = 0\n"
        "def test_leaves():\n"
        "    threading.Thread(target=threading.Event().wait, name='forgotten', daemon=True).start()\n"
        "def test_next(): pass\n"
    )
    (tmp_path / "test_thread.py").write_text(_PROLOGUE + lines)
    done = run(tmp_path)
    assert "2 passed, 1 error" in done.stdout, done.stdout
    assert "test_leaves" in done.stdout
    assert "the test left threads running, which may disturb every later test: forgotten" in done.stdout


def test_what_a_test_leaves_open_is_its_own_failure(tmp_path):
    lines = "def test_leaves():\n    circle = [socket.socket()]\n    circle.append(circle)\ndef test_next(): pass\n"
    (tmp_path / "test_open.py").write_text(_PROLOGUE + lines)
    done = run(tmp_path)
    assert re.search(r"^ERROR test_open.py::test_leaves", done.stdout, re.MULTILINE), done.stdout
    assert "2 passed, 1 error" in done.stdout


@pytest.fixture
def three_modules(tmp_path):
    for name in "abc":
        tests = "".join(f"def test_{name}{number}(): pass\n" for number in range(6))
        (tmp_path / f"test_{name}.py").write_text(tests)
    return tmp_path


def order(folder, *arguments):
    return re.findall(r"^test_.*::(\w+)", run(folder, "-v", *arguments).stdout, re.MULTILINE)


def test_a_seed_gives_one_order_and_another_seed_another(three_modules):
    plain, first, again, other = (order(three_modules, *seed) for seed in ([], *([f"--order-seed={n}"] for n in (1, 1, 2))))
    assert first == again
    assert len({*map(tuple, (plain, first, other))}) == 3
    assert sorted(plain) == sorted(first) == sorted(other)
    # The tests of a module stay together, because they share what it starts.
    assert len([name for before, name in zip(["", *first], first, strict=False) if before[:6] != name[:6]]) == 3


def test_a_chosen_seed_is_printed_and_holds_for_every_process(three_modules):
    done = run(three_modules, "--order-seed=random", "-p", "xdist", "--numprocesses=2", "--dist=loadscope")
    assert "18 passed" in done.stdout, done.stdout
    (seed,) = re.findall(r"the same again: --order-seed=(\d+)$", done.stdout, re.MULTILINE)
    assert len(order(three_modules, f"--order-seed={seed}")) == 18
