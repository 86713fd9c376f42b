"""What `make run` does: keeps the gateway's port, installs what is missing, gives kernels an environment, starts the gateway.

Kernels never share the repository's environment: `%pip` in a notebook would change what its tests and tools run with.
The first run makes an environment of its own for them, in .kernels; `--kernel-python` takes one that exists.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import venv
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parent.parent
KERNELS = Path(".kernels")
DEFAULT_PORT = 8888
INTERRUPTED = 130
NO_NETWORK = (ROOT / "build-support" / "no_network.txt").read_text(encoding="utf-8")


class CannotRun(Exception):
    """Why the gateway can't be started, in words for who asked for it."""


def main(argv: list[str]) -> NoReturn:
    """Start the gateway; this process becomes it."""
    parser = argparse.ArgumentParser(prog="make run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", default="", metavar="COMMAND", help="what installs the gateway")
    parser.add_argument("--kernel-python", default="", metavar="PYTHON", help="interpreter of an environment for kernels")
    parser.add_argument("--kernel-packages", default="", metavar="NAMES", help="what a new environment for kernels holds")
    parser.add_argument("--folder", type=Path, default=ROOT / KERNELS, help="where the environment for kernels lies")
    parser.add_argument("gateway", nargs="+", metavar="COMMAND", help="the gateway's command, after --")
    options = parser.parse_args(argv)
    try:
        data = prepared(options)
    except CannotRun as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    # The next kernel waits already when somebody opens a notebook.
    environment = {"EG_LIST_KERNELS": "True", "EG_WARM_POOLS": "python3=1", **os.environ}
    # What somebody names himself comes first.
    environment["JUPYTER_PATH"] = os.pathsep.join(filter(None, (os.environ.get("JUPYTER_PATH"), str(data))))
    os.execvpe(options.gateway[0], options.gateway, environment)  # noqa: S606  a shell would stand between Ctrl-C and the gateway


def prepared(options: argparse.Namespace) -> Path:
    """Install what is missing, and return Jupyter's data folder with the kernelspec."""
    with Reservation(*address(options.gateway)):
        if options.install:
            subprocess.run(shlex.split(options.install), check=True)
        if options.kernel_python:
            return chosen_environment(options.kernel_python, options.folder / "chosen")
        return own_environment(options.kernel_packages.split(), options.folder / "environment")


# ------------------------------------------------------------------------------------------------------------- the port


class Address(NamedTuple):
    """Where the gateway is going to listen, as far as arguments and environment say."""

    ip: str
    port: int


def address(command: list[str]) -> Address:
    """Return where a gateway of this command line is going to listen."""

    def said(name: str, default: str) -> str:
        options = (f"--{name}", f"--EnterpriseGatewayApp.{name}")
        for argument, following in zip(command, [*command[1:], ""], strict=True):
            option, equals, value = argument.partition("=")
            if option in options:
                return value if equals else following
        return os.environ.get(f"EG_{name.upper()}") or os.environ.get(f"KG_{name.upper()}") or default

    port = said("port", "")
    return Address(said("ip", "127.0.0.1"), int(port) if port.isdecimal() else DEFAULT_PORT)


class Reservation:
    """Keeps a port from other programs, such as a JupyterLab that is started meanwhile and would take 8888 for itself.

    Nothing listens there, so who connects is refused at once. A port that can't be kept is left to the gateway, which says
    what is wrong with it, or listens on another.
    """

    def __init__(self, ip: str, port: int) -> None:
        self._address = (ip, port)
        self._socket = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET)

    def __enter__(self) -> None:
        try:
            # Without SO_REUSEADDR, with which another program could bind the same port.
            self._socket.bind(self._address)
        except OSError:
            self._socket.close()

    def __exit__(self, *_: object) -> None:
        self._socket.close()


# -------------------------------------------------------------------------------------------------- environments of kernels


def own_environment(packages: list[str], folder: Path) -> Path:
    """Return Jupyter's data folder of an environment that belongs to the kernels, made where it isn't there."""
    data, python, held = folder / "share" / "jupyter", folder / "bin" / "python", folder / "packages.txt"
    wanted = ["ipykernel", *packages]
    present = held.read_text(encoding="utf-8").split() if held.is_file() else []
    if present and set(wanted) <= set(present):
        return data
    print(f"make: installing {' '.join(wanted)} into an environment for kernels, {folder}: about a minute, once")
    print(
        "make: %pip in a notebook installs there too; KERNEL_PYTHON=/path/to/python runs kernels in one of yours instead",
        flush=True,
    )
    if not present:
        # What an earlier run began and didn't end.
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--progress-bar=off"]
    if subprocess.run([*pip, *wanted], check=False).returncode != 0:
        raise CannotRun(f"{NO_NETWORK}make: KERNEL_PYTHON=.venv/bin/python runs kernels in this repository's own environment.")
    write_kernelspec(data, python)
    held.write_text(" ".join(dict.fromkeys([*present, *wanted])) + "\n", encoding="utf-8")
    return data


def chosen_environment(interpreter: str, folder: Path) -> Path:
    """Return a Jupyter data folder whose kernel is that of an existing environment."""
    found = shutil.which(Path(interpreter).expanduser())
    if found is None:
        raise CannotRun(f"make: KERNEL_PYTHON: {interpreter} is no program. Name an environment's interpreter: …/bin/python.")
    # Not resolved: where the link of a virtual environment leads to is another environment.
    python = Path(found).absolute()
    if subprocess.run([python, "-c", "import ipykernel"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
        raise CannotRun(f"make: KERNEL_PYTHON: {interpreter} has no ipykernel: {interpreter} -m pip install ipykernel")
    write_kernelspec(folder / "share" / "jupyter", python)
    return folder / "share" / "jupyter"


def write_kernelspec(data: Path, python: Path) -> None:
    """Write the kernelspec `python3` that runs an interpreter, and finds the programs beside it first, such as pip."""
    folder = data / "kernels" / "python3"
    folder.mkdir(parents=True, exist_ok=True)
    kernelspec = {
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "metadata": {"debugger": True},
        "env": {"PATH": f"{python.parent}{os.pathsep}${{PATH}}"},
    }
    (folder / "kernel.json").write_text(json.dumps(kernelspec, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
