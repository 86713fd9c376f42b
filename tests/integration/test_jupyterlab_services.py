"""JupyterLab 4's own client library, `@jupyterlab/services`, in Node: what a browser does, without the browser."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.servers import Server

_SOURCE = Path(__file__).parent / "node"
_FILES = ("package.json", "package-lock.json", ".npmrc", "client.mjs")


@pytest.fixture(scope="module")
def node_folder() -> Path:
    """A folder of the user's cache with the locked packages, made once for each state of the lock."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        message = f"{' and '.join(missing)} not found: JupyterLab's client library runs in Node"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    digest = hashlib.sha256((_SOURCE / "package-lock.json").read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "enterprise-gateway-tests" / f"node-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        shutil.copy(_SOURCE / name, folder)
    # Written by npm when it is done, so a first run that was broken off is done again.
    if not (folder / "node_modules" / ".package-lock.json").exists():
        subprocess.run(["npm", "ci", "--loglevel=error"], cwd=folder, check=True, timeout=100, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="module")
def seen(server: Server, node_folder: Path) -> dict[str, Any]:
    """What the client saw on its walk through one kernel's life."""
    ended = subprocess.run(
        ["node", "client.mjs", server.url + "/", server.token],
        cwd=node_folder,
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode != 0:
        pytest.fail(f"the client ended with {ended.returncode}:\n{ended.stdout[-1000:]}\n{ended.stderr[:1500]}", pytrace=False)
    return json.loads(ended.stdout.splitlines()[-1])


def test_the_kernelspecs_are_read(seen: dict[str, Any]) -> None:
    assert seen["default"] == "python3"
    assert {"python3", "with-env"} <= set(seen["specs"])


def test_a_cell_runs(seen: dict[str, Any]) -> None:
    assert seen["banner"] == "ipython"
    assert seen["cell"]["text"] == "Ω\n"
    assert seen["cell"]["types"] == ["status", "execute_input", "stream", "execute_result", "status"]


def test_input_is_asked_and_answered(seen: dict[str, Any]) -> None:
    assert seen["input"] == "Ada\n"


def test_a_running_cell_is_interrupted(seen: dict[str, Any]) -> None:
    assert seen["interrupted"] == "KeyboardInterrupt"


def test_buffers_come_back_byte_for_byte(seen: dict[str, Any]) -> None:
    assert seen["echoed"] == [[255, 254, 1, 0]]


def test_a_restart_loses_the_state(seen: dict[str, Any]) -> None:
    assert seen["afterRestart"] == "False\n"
    # This status makes JupyterLab say that the kernel has died.
    assert "autorestarting" not in seen["restartStatuses"]
    assert seen["unanswered"] == []


def test_a_dead_kernel_is_announced_and_comes_back(seen: dict[str, Any]) -> None:
    assert (seen["died"], seen["afterDeath"]) == ("autorestarting", "1\n")


def test_a_lost_connection_is_opened_again_and_works(seen: dict[str, Any]) -> None:
    assert (seen["dropped"], seen["afterDrop"]) == ("reconnected", "2\n")


def test_a_shutdown_ends_the_kernel(seen: dict[str, Any], server: Server) -> None:
    assert seen["id"] not in seen["running"]
    assert seen["id"] not in server.kernel_ids()
