"""The server under test: a process of its own with nothing of the caller's environment, stopped by its own process id.

Three products speak the same REST and websocket protocol, so that a test or a benchmark can run against any of them:
our gateway; `jupyter-kernel-gateway`, the peer that the figures of docs/performance.md are compared with; and
`jupyter-server`, which with `--gateway-url` is the client that most people have in front of a gateway.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil
import requests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.tls import TlsFiles

__all__ = ["Product", "Server", "ServerFailed", "Workspace", "clean_environment", "free_port"]

_POLL_SECONDS = 0.02
_LEFT_OUT = Path(__file__).with_name("left_out")


class Product(StrEnum):
    """What runs behind the URL."""

    GATEWAY = "enterprise-gateway"
    PEER = "kernel-gateway"
    JUPYTER_SERVER = "jupyter-server"
    JUPYTERLAB = "jupyterlab"

    @property
    def module(self) -> str:
        """What `python -m` starts."""
        modules = {Product.GATEWAY: "enterprise_gateway", Product.PEER: "kernel_gateway", Product.JUPYTERLAB: "jupyterlab"}
        return modules.get(self, "jupyter_server")

    @property
    def has_arguments(self) -> bool:
        """Whether its settings are arguments, as Jupyter Server's are, and not variables."""
        return self in {Product.JUPYTER_SERVER, Product.JUPYTERLAB}

    @property
    def probe(self) -> str:
        """The path that answers 200 once it can start kernels."""
        return "/readyz" if self is Product.GATEWAY else "/api"


class ServerFailed(Exception):
    """The server ended, or wasn't ready in time; the words hold the end of its log."""


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A folder with everything a server may read or write: home, Jupyter's folders, extra kernelspecs, its log."""

    root: Path

    @property
    def data(self) -> Path:
        """The first folder in which Jupyter looks for `kernels/`."""
        return self.root / "share"

    def add_kernelspec(self, name: str, argv: Sequence[str], **rest: object) -> Path:
        """Install a kernelspec that only servers of this workspace see."""
        folder = self.data / "kernels" / name
        folder.mkdir(parents=True, exist_ok=True)
        spec = {"argv": list(argv), "display_name": name, "language": "python", **rest}
        (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        return folder


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(workspace: Workspace) -> dict[str, str]:
    """Return an environment that holds nothing of the caller's but the interpreter's folder and the system's."""
    home = workspace.root / "home"
    home.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        # In Pants' sandbox a program finds the packages by PYTHONPATH.
        "PYTHONPATH": os.pathsep.join([str(_LEFT_OUT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),  # noqa: S108 - the system's own default, where the caller has none
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTER_PATH": str(workspace.data),
    }


@dataclass(kw_only=True)
class Server:
    """One server process: `start` returns when it answers, `stop` when its process is gone.

    Parameters
    ----------
    settings
        Environment settings without the product's prefix, e.g. `{"MAX_KERNELS": "3"}`.
    environment
        Further variables, as they are.
    tls
        Serve with TLS, to clients with a certificate of the authority only.
    interpreter
        Of the environment that the product is installed in.
    """

    product: Product
    workspace: Workspace
    token: str = ""
    base_url: str = "/"
    port: int = field(default_factory=free_port)
    settings: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    arguments: Sequence[str] = ()
    tls: TlsFiles | None = None
    interpreter: str = sys.executable
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """The URL below which its API lies, without a slash at the end."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}{self.base_url.rstrip('/')}"

    @property
    def websocket_url(self) -> str:
        """`url` for websockets."""
        return "ws" + self.url.removeprefix("http")

    @property
    def process(self) -> psutil.Process:
        """Exactly the server's process, without its kernels."""
        assert self._process is not None, "the server was never started"
        return psutil.Process(self._process.pid)

    @property
    def log_path(self) -> Path:
        """Where its standard output and error go."""
        return self.workspace.root / f"{self.product}-{self.port}.log"

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""

    def launch(self) -> Self:
        """Start the process and return at once."""
        assert self._process is None, "the server runs already"
        # Appended, so that the log of a server that is started again tells of both lives.
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [self.interpreter, "-m", self.product.module, *self._arguments()],
                env=clean_environment(self.workspace) | self._settings() | dict(self.environment),
                cwd=self.workspace.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def _arguments(self) -> list[str]:
        if not self.product.has_arguments:
            return list(self.arguments)
        own = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": self.port,
            "ServerApp.port_retries": 0,
            "ServerApp.base_url": self.base_url,
            "ServerApp.open_browser": False,
            "ServerApp.allow_root": True,
            "IdentityProvider.token": self.token,
        }
        return [*(f"--{name}={value}" for name, value in own.items()), *self.arguments]

    def _settings(self) -> dict[str, str]:
        if self.product.has_arguments:
            return {}
        own = {"IP": "127.0.0.1", "PORT": str(self.port), "PORT_RETRIES": "0", "BASE_URL": self.base_url, "LIST_KERNELS": "True"}
        if self.token:
            own["AUTH_TOKEN"] = self.token
        if self.tls:
            certificate, key = map(str, self.tls.server)
            own |= {"CERTFILE": certificate, "KEYFILE": key, "CLIENT_CA": str(self.tls.authority)}
        prefix = "EG_" if self.product is Product.GATEWAY else "KG_"
        return {prefix + name: value for name, value in (own | dict(self.settings)).items()}

    def wait_ready(self, timeout: float = 30) -> Self:
        """Return once it answers; raise `ServerFailed` with the end of its log when it doesn't."""
        assert self._process is not None, "the server was never started"
        deadline = time.monotonic() + timeout
        while True:
            if self._process.poll() is not None:
                raise ServerFailed(f"{self.product} ended with {self._process.returncode}:\n{self.log[-4000:]}")
            try:
                answer = self.request("GET", self.product.probe, timeout=5)
            except requests.RequestException:
                answer = None
            if answer is not None and answer.ok:
                return self
            if time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(f"{self.product} isn't ready after {timeout} s:\n{self.log[-4000:]}")
            time.sleep(_POLL_SECONDS)

    def start(self, timeout: float = 30) -> Self:
        """Start the process and wait until it answers."""
        return self.launch().wait_ready(timeout)

    def stop(self, timeout: float = 20) -> int:
        """Send SIGTERM and return the exit code; a server that doesn't end in time is killed and that is an error."""
        assert self._process is not None, "the server was never started"
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServerFailed(f"{self.product} ignored SIGTERM for {timeout} s:\n{self.log[-4000:]}") from None

    def wait(self, timeout: float) -> int:
        """Return the exit code of a server that was told to end by other means than `stop`."""
        assert self._process is not None, "the server was never started"
        code = self._process.wait(timeout)
        self._process = None
        return code

    def kill(self) -> None:
        """End it without giving it a chance to clean up; its kernels end by their own parent watch."""
        assert self._process is not None, "the server was never started"
        self._process.kill()
        self._process.wait()
        self._process = None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def headers(self) -> dict[str, str]:
        """What a client with the token sends."""
        return {"Authorization": f"token {self.token}"} if self.token else {}

    def request(self, method: str, path: str, *, timeout: float = 60, **rest: object) -> requests.Response:
        """Send one request with the token."""
        headers = self.headers | rest.pop("headers", {})
        if self.tls:
            rest = {"verify": str(self.tls.authority), "cert": tuple(map(str, self.tls.client))} | rest
        return requests.request(method, self.url + path, headers=headers, timeout=timeout, **rest)

    def start_kernel(self, name: str = "python3", **body: object) -> str:
        """Start a kernel and return its id."""
        answer = self.request("POST", "/api/kernels", json={"name": name, **body})
        assert answer.status_code == 201, f"{answer.status_code} {answer.text}\n{self.log[-4000:]}"
        return str(answer.json()["id"])

    def stop_kernel(self, kernel_id: str) -> None:
        """End a kernel, if it is there."""
        answer = self.request("DELETE", f"/api/kernels/{kernel_id}")
        assert answer.status_code in {204, 404}, f"{answer.status_code} {answer.text}"

    def kernel_ids(self) -> set[str]:
        """The ids of all kernels that it lists."""
        return {kernel["id"] for kernel in self.request("GET", "/api/kernels").json()}

    def descendants(self) -> list[psutil.Process]:
        """Every process that it started and that still runs, kernels before their children."""
        return [child for child in self.process.children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]

    def cpu_seconds(self) -> float:
        """CPU time of its own process so far, without kernels."""
        # The clock of another process, as clock_getcpuclockid(3) numbers them: what /proc tells comes in steps of 10 ms.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def rss(self) -> int:
        """Resident bytes of its own process, without kernels."""
        return int(self.process.memory_info().rss)
