"""JupyterLab as a client: its own library in Node, and the Jupyter Server before a gateway, and all of it in a browser."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.servers import Product, Server

if TYPE_CHECKING:
    from tests.support.release import InstalledGateway
    from tests.support.servers import Workspace

__all__ = ["browser_python", "jupyter_server_before", "jupyterlab_before", "look_in_browser", "walk", "walk_in_browser"]

_SOURCE = Path(__file__).parent / "node"
_BROWSER = Path(__file__).parent / "browser"
_FILES = ("package.json", "package-lock.json", ".npmrc", "client.mjs")


def jupyter_server_before(gateway: Server | InstalledGateway, workspace: Workspace, *arguments: str) -> Server:
    """Return a Jupyter Server that has its kernels from a gateway; it isn't started yet."""
    return _in_gateway_mode(Product.JUPYTER_SERVER, gateway, workspace, sys.executable, *arguments)


def jupyterlab_before(gateway: Server | InstalledGateway, workspace: Workspace, *, notebooks: Path) -> Server:
    """Return a JupyterLab that has its kernels from a gateway, its notebooks from a folder; it isn't started yet."""
    shown = [f"--ServerApp.root_dir={notebooks}", "--LabApp.expose_app_in_browser=True"]
    return _in_gateway_mode(Product.JUPYTERLAB, gateway, workspace, browser_python(), *shown)


def _in_gateway_mode(
    product: Product, gateway: Server | InstalledGateway, workspace: Workspace, interpreter: str, *arguments: str
) -> Server:
    return Server(
        product=product,
        workspace=workspace,
        token="lab-token",
        interpreter=interpreter,
        arguments=[f"--gateway-url={gateway.url}", *arguments],
        environment={
            "JUPYTER_GATEWAY_AUTH_TOKEN": gateway.token,
            "JUPYTER_GATEWAY_RETRY_INTERVAL": "0.1",
            "KERNEL_USERNAME": "ada",
        },
    )


def walk_in_browser(lab: Server, notebook: str, *, lines: int | None = None) -> subprocess.Popen[str]:
    """Begin to run a notebook's only cell in a browser; what is seen comes as lines of JSON, see browser/walk.py.

    Parameters
    ----------
    lines
        How many the cell prints, once the kernel is up; without it the cell is run the moment the notebook has a kernel.
    """
    url = f"{lab.url}/lab/tree/{notebook}?token={lab.token}"
    arguments = [] if lines is None else [str(lines)]
    return subprocess.Popen([browser_python(), str(_BROWSER / "walk.py"), url, *arguments], stdout=subprocess.PIPE, text=True)


def look_in_browser(url: str, script: str) -> dict[str, Any]:
    """Return what a script says of a page once it says something, and what the browser complained of; see browser/page.py."""
    command = [browser_python(), str(_BROWSER / "page.py"), url, script]
    ended = subprocess.run(command, timeout=150, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        pytest.fail(f"the browser ended with {ended.returncode}:\n{ended.stderr[-2000:]}", pytrace=False)
    seen: dict[str, Any] = json.loads(ended.stdout)
    return seen


def browser_python() -> str:
    """Return the interpreter of an environment with JupyterLab and Selenium, made once for each state of its requirements.

    Without a browser the test is skipped; with REQUIRE_E2E=1 it fails.
    """
    missing = [tool for tool in ("chromium", "chromedriver") if shutil.which(tool) is None]
    if missing:
        message = f"{' and '.join(missing)} not found (Debian: chromium, chromium-driver)"
        if os.environ.get("REQUIRE_E2E") == "1":
            pytest.fail(message)
        pytest.skip(message)
    requirements = _BROWSER / "requirements.txt"
    folder = _cache() / f"browser-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    interpreter, done = folder / "bin" / "python", folder / "done"
    # Written at the end, so a first run that was broken off is done again.
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True, timeout=60)
        command = [interpreter, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "-r", requirements]
        subprocess.run(command, check=True, timeout=200)
        done.touch()
    return str(interpreter)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "enterprise-gateway-tests"


def walk(gateway: Server | InstalledGateway, kernelspec: str) -> dict[str, Any]:
    """Return what JupyterLab's library saw of one kernel's life, from its start to its end; see node/client.mjs."""
    ended = subprocess.run(
        ["node", "client.mjs", gateway.url + "/", gateway.token, kernelspec],
        cwd=_node_folder(),
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode != 0:
        pytest.fail(f"the client ended with {ended.returncode}:\n{ended.stdout[-1000:]}\n{ended.stderr[:1500]}", pytrace=False)
    seen: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return seen


def _node_folder() -> Path:
    """Return a folder of the user's cache with the locked packages, made once for each state of the lock."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        message = f"{' and '.join(missing)} not found: JupyterLab's client library runs in Node"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    digest = hashlib.sha256((_SOURCE / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder = _cache() / f"node-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        shutil.copy(_SOURCE / name, folder)
    # Written by npm when it is done, so a first run that was broken off is done again.
    if not (folder / "node_modules" / ".package-lock.json").exists():
        subprocess.run(["npm", "ci", "--loglevel=error"], cwd=folder, check=True, timeout=100, stdout=subprocess.DEVNULL)
    return folder
