"""JupyterLab as a client: its own library in Node, and the Jupyter Server that stands between a browser and a gateway."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.servers import Product, Server

if TYPE_CHECKING:
    from tests.support.release import InstalledGateway
    from tests.support.servers import Workspace

__all__ = ["jupyter_server_before", "walk"]

_SOURCE = Path(__file__).parent / "node"
_FILES = ("package.json", "package-lock.json", ".npmrc", "client.mjs")


def jupyter_server_before(gateway: Server | InstalledGateway, workspace: Workspace) -> Server:
    """Return a Jupyter Server that has its kernels from a gateway; it isn't started yet."""
    return Server(
        product=Product.JUPYTER_SERVER,
        workspace=workspace,
        token="lab-token",
        arguments=[f"--gateway-url={gateway.url}"],
        environment={
            "JUPYTER_GATEWAY_AUTH_TOKEN": gateway.token,
            "JUPYTER_GATEWAY_RETRY_INTERVAL": "0.1",
            "KERNEL_USERNAME": "ada",
        },
    )


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
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "enterprise-gateway-tests" / f"node-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        shutil.copy(_SOURCE / name, folder)
    # Written by npm when it is done, so a first run that was broken off is done again.
    if not (folder / "node_modules" / ".package-lock.json").exists():
        subprocess.run(["npm", "ci", "--loglevel=error"], cwd=folder, check=True, timeout=100, stdout=subprocess.DEVNULL)
    return folder
