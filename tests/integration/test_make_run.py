"""What `make run` does before the gateway starts: kernels get an environment that isn't the repository's, the port is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.servers import Product, Server, Workspace, clean_environment, free_port

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = Path(__file__).parents[2] / "build-support" / "run.py"
# In the gateway's place: shows where its kernelspecs are looked for, and with which arguments it was started.
_SHOW = [sys.executable, "-c", "import json, os, sys; print(json.dumps([os.environ['JUPYTER_PATH'], sys.argv[1:]]))"]
# In place of an installation: what becomes of a program that wants the port meanwhile, as tornado binds it.
_BIND = (
    "import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1);"
    " print(s.connect_ex(('127.0.0.1', {port})) != 0, flush=True); s = socket.socket();"
    " s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', {port}))"
)


@pytest.fixture
def run(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def start(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), "--folder", str(tmp_path / "kernels"), *arguments]
        known = clean_environment(Workspace(root=tmp_path)) | environment
        known.pop("JUPYTER_PATH")
        return subprocess.run(command, env=known | environment, capture_output=True, text=True, timeout=100, check=False)

    return start


def test_kernels_run_with_the_environment_that_is_named(run: Callable[..., subprocess.CompletedProcess[str]], tmp_path) -> None:
    ended = run("--kernel-python", sys.executable, "--", *_SHOW, "--ip=0.0.0.0")
    path, arguments = json.loads(ended.stdout)
    assert arguments == ["--ip=0.0.0.0"]
    assert path == str(tmp_path / "kernels" / "chosen" / "share" / "jupyter")
    spec = json.loads((Path(path) / "kernels" / "python3" / "kernel.json").read_text())
    # The interpreter as it was named: a virtual environment's is a link to another environment's.
    assert spec["argv"][0] == sys.executable

    server = Server(product=Product.GATEWAY, workspace=Workspace(root=tmp_path), environment={"JUPYTER_PATH": path}).start()
    try:
        with KernelSocket(server, server.start_kernel("python3")) as client:
            code = "import os, sys; print(sys.executable, os.environ['PATH'].split(os.pathsep)[0])"
            assert text_of(client.run(code)).split() == [sys.executable, str(Path(sys.executable).parent)]
    finally:
        server.stop()


def test_folders_of_kernelspecs_that_somebody_names_come_first(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    ended = run("--kernel-python", sys.executable, "--", *_SHOW, JUPYTER_PATH="/mine:/ours")
    first, second, third = json.loads(ended.stdout)[0].split(os.pathsep)
    assert (first, second, Path(third).parts[-3:]) == ("/mine", "/ours", ("chosen", "share", "jupyter"))


@pytest.mark.parametrize(
    ("interpreter", "words"),
    [("/no/such/python", "is no program"), ("{bare}", "has no ipykernel: {bare} -m pip install ipykernel")],
)
def test_an_environment_that_has_no_kernel_ends_it_with_what_to_do(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path, interpreter, words
) -> None:
    bare = tmp_path / "bare" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True, timeout=60)
    ended = run("--kernel-python", interpreter.format(bare=bare), "--", *_SHOW)
    assert ended.returncode == 1
    assert words.format(bare=bare) in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_a_package_index_it_speaks_of_the_network_and_keeps_nothing_that_is_half_made(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path
) -> None:
    for _ in range(2):
        ended = run("--kernel-packages", "numpy", "--", *_SHOW, PIP_NO_INDEX="1")
        assert ended.returncode == 1
        for words in ("check the network", "HTTPS_PROXY", "PIP_INDEX_URL", "KERNEL_PYTHON="):
            assert words in ended.stderr
        assert ended.stdout.count("installing ipykernel numpy into an environment for kernels") == 1
    assert not (tmp_path / "kernels" / "environment" / "packages.txt").exists()


@pytest.mark.parametrize("said", [["--port={port}"], ["--port", "{port}"], ["--EnterpriseGatewayApp.port={port}"], []])
def test_no_other_program_takes_the_port_while_the_gateway_is_installed(
    run: Callable[..., subprocess.CompletedProcess[str]], said
) -> None:
    port = str(free_port())
    install = f'{sys.executable} -c "{_BIND.format(port=port)}"'
    ended = run("--install", install, "--", *_SHOW, *(each.format(port=port) for each in said), EG_PORT=port)
    assert ended.stdout == "True\n", "who connects is refused at once"
    assert "Address already in use" in ended.stderr
    assert ended.returncode == 1, "what the installation ends with"


def test_a_port_that_is_taken_is_left_to_the_gateway(
    run: Callable[..., subprocess.CompletedProcess[str]], server: Server
) -> None:
    ended = run("--kernel-python", sys.executable, "--", *_SHOW, f"--port={server.port}")
    assert ended.returncode == 0
