"""The puller, a gateway's kernelspecs and a containerd, each as a process or server of its own."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import requests
from puller_registries import LOGIN, ClosingServer, Fault, FaultyRegistry, PushedImage, Registry, noop_program, push_image
from puller_waiting import free_port, wait_until

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping

__all__ = [
    "LOGIN",
    "Containerd",
    "Fault",
    "FaultyRegistry",
    "KernelspecsServer",
    "PullerProcess",
    "PushedImage",
    "Registry",
    "free_port",
    "noop_program",
    "push_image",
    "wait_until",
]


class KernelspecsServer:
    """What a gateway answers to `/api/kernelspecs`, with an ETag."""

    def __init__(self, *, token: str = "", port: int = 0, certificate: tuple[Path, Path] | None = None) -> None:
        self.token = token
        self.kernelspecs: dict[str, Any] = {}
        self.statuses: list[int] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            # One request a connection, so that closing this server leaves none that still answers.
            protocol_version = "HTTP/1.0"

            def do_GET(self) -> None:
                server.serve(self)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ClosingServer(("0.0.0.0", port), Handler)  # noqa: S104  pods reach it
        self.port = int(self._server.server_address[1])
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def set_images(self, images: Mapping[str, str | dict[str, Any]]) -> None:
        """Serve one kernelspec for each name, with this image or this config."""
        self.kernelspecs = {
            name: {
                "name": name,
                "spec": {
                    "argv": [],
                    "display_name": name,
                    "language": "python",
                    "metadata": {
                        "process_proxy": {
                            "class_name": "enterprise_gateway.services.processproxies.k8s.KubernetesProcessProxy",
                            "config": config if isinstance(config, dict) else {"image_name": config},
                        }
                    },
                },
                "resources": {},
            }
            for name, config in images.items()
        }

    def serve(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = json.dumps({"default": "python3", "kernelspecs": self.kernelspecs}).encode()
        etag = '"' + hashlib.sha256(body).hexdigest() + '"'
        if self.token and handler.headers.get("Authorization") != f"token {self.token}":
            status, body = 401, b"{}"
        elif handler.path != "/api/kernelspecs":
            status, body = 404, b"{}"
        elif handler.headers.get("If-None-Match") == etag:
            status, body = 304, b""
        else:
            status = 200
        self.statuses.append(status)
        handler.send_response(status)
        handler.send_header("ETag", etag)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def close(self) -> None:
        """End it."""
        self._server.close()


class PullerProcess:
    """`kernel-image-puller` with nothing of this environment but what it is given."""

    def __init__(self, log: Path, *arguments: str, **environment: str) -> None:
        self.port = free_port()
        self.log = log
        settings = {
            "PATH": os.environ["PATH"],
            "HOME": str(log.parent),
            "KIP_HTTP_PORT": str(self.port),
            "KIP_MIN_FREE_PERCENT": "0",
            "KIP_NODE_NAME": "test-node",
            **environment,
        }
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kernel_image_puller", *arguments], env=settings, stdout=stream, stderr=stream
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    def status(self) -> dict[str, Any]:
        """Return the page /status; empty while it isn't served."""
        try:
            answer: dict[str, Any] = requests.get(f"http://127.0.0.1:{self.port}/status", timeout=5).json()
        except requests.RequestException:
            if self.process.poll() is not None:
                raise AssertionError(f"the puller has ended: {self.text()}") from None
            return {}
        return answer

    def images(self) -> dict[str, dict[str, Any]]:
        """Return image to status."""
        return {image["image"]: image for image in self.status().get("images", [])}

    def state(self, image: str) -> str:
        """Return the state of one image."""
        return str(self.images().get(image, {}).get("state", ""))

    def wait_for(self, image: str, state: str, *, seconds: float = 30) -> dict[str, Any]:
        """Wait until an image is in a state, and return its status."""
        wait_until(lambda: self.state(image) == state, seconds=seconds, what=f"{image} is {state}: {self.text()[-3000:]}")
        return self.images()[image]

    def ready(self) -> bool:
        """Tell whether the first round is done."""
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5).status_code == requests.codes.ok
        except requests.RequestException:
            return False

    def metrics(self) -> dict[str, float]:
        """Return metric to value; empty while they aren't served."""
        try:
            text = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5).text
        except requests.ConnectionError:
            return {}
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in lines}

    def text(self) -> str:
        """Return everything that it has written."""
        return self.log.read_text(encoding="utf-8")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def stop(self) -> float:
        """End it as Kubernetes does; return how long that took."""
        started = time.monotonic()
        self.process.terminate()
        assert self.process.wait(10) == 0, self.text()
        return time.monotonic() - started

    def resources(self) -> tuple[int, int, float]:
        """Return its threads, its open files and its resident memory in MiB."""
        root = Path(f"/proc/{self.process.pid}")
        memory = int((root / "statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
        return len(list((root / "task").iterdir())), len(list((root / "fd").iterdir())), memory

    def assert_nothing_is_left_over(self, before: tuple[int, int, float]) -> None:
        """Fail unless it has no more threads and open files than before; connections may take a moment to close."""

        def gone() -> bool:
            after = self.resources()
            return after[0] <= before[0] and after[1] <= before[1] + 1

        wait_until(gone, seconds=10, what=f"nothing is left over: {before} before, {self.resources()} now")


class Containerd:
    """A containerd of our own, which may be killed and whose disk may be full."""

    def __init__(self, folder: Path, *, program: str, room_megabytes: int = 0, metrics_port: int = 0) -> None:
        self.folder = folder
        # A socket's path has at most 107 characters.
        self._run_folder = tempfile.TemporaryDirectory(prefix="kip-")
        self.socket = Path(self._run_folder.name) / "containerd.sock"
        self.endpoint = f"unix://{self.socket}"
        self._program = program
        self._room = folder / "root"
        self._room.mkdir(parents=True)
        self._mounted = bool(room_megabytes)
        self._metrics_port = metrics_port
        if room_megabytes:
            self._run("mount", "-t", "tmpfs", "-o", f"size={room_megabytes}m", "tmpfs", str(self._room))
        (folder / "config.toml").write_text(self._configuration(), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def _configuration(self) -> str:
        version = subprocess.run([self._program, "--version"], check=True, capture_output=True, text=True).stdout
        newer = " v2." in version or " 2." in version
        runtime = "io.containerd.cri.v1.runtime" if newer else "io.containerd.grpc.v1.cri"
        # The older one can't always use overlayfs; the newer one unpacks with its default only.
        snapshotter = "" if newer else f'[plugins."{runtime}".containerd]\n  snapshotter = "native"\n'
        address = f"127.0.0.1:{self._metrics_port}" if self._metrics_port else ""
        return (
            f"version = {3 if newer else 2}\n"
            f'root = "{self._room}"\nstate = "{self.folder}/state"\n'
            f'[grpc]\n  address = "{self.socket}"\n'
            f'[ttrpc]\n  address = "{self.socket}.ttrpc"\n'
            f'[metrics]\n  address = "{address}"\n  grpc_histogram = false\n'
            f"{snapshotter}"
            f'[plugins."{runtime}".cni]\n  bin_dir = "{self.folder}"\n  conf_dir = "{self.folder}/cni"\n'
        )

    @staticmethod
    def _run(*command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "--config", str(self.folder / "config.toml")], stdout=log, stderr=log
            )
        try:
            wait_until(self._answers, seconds=20, what=f"containerd answers, see {self.folder}/log")
        except BaseException:
            self.kill()
            raise

    def _answers(self) -> bool:
        done = subprocess.run(
            ["ctr", "-a", str(self.socket), "-n", "k8s.io", "images", "ls", "-q"], check=False, capture_output=True
        )
        return done.returncode == 0

    def images(self) -> set[str]:
        """Return the names of all images but those by their own id."""
        listed = self._run("ctr", "-a", str(self.socket), "-n", "k8s.io", "images", "ls", "-q").split()
        return {name for name in listed if not name.startswith("sha256:")}

    def digest(self, name: str) -> str:
        """Return an image's digest; empty if it isn't there."""
        lines = self._run("ctr", "-a", str(self.socket), "-n", "k8s.io", "images", "ls", f"name=={name}").splitlines()[1:]
        return next((word for line in lines for word in line.split() if word.startswith("sha256:")), "")

    def remove(self, name: str) -> None:
        """Remove an image as somebody at the node would."""
        self._run("ctr", "-a", str(self.socket), "-n", "k8s.io", "images", "rm", "--sync", name)

    def kill(self) -> None:
        """End it without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def close(self) -> None:
        """End it and give its room back."""
        self.kill()
        if self._mounted:
            self._run("umount", "--lazy", str(self._room))
        self._run_folder.cleanup()
