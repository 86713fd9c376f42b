"""Parts that fail on demand: a clock that is set by hand, a container runtime behind a real socket, a web server."""

# ruff: noqa: N802, N815  names and parameters are those of gRPC and of http.server

import contextlib
import http.server
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, settings

from enterprise_gateway_common.image_reference import parse_image_reference
from kernel_image_puller.retrying import RetryPolicy
from kernel_image_puller.runtimes.cri_v1 import api_pb2, api_pb2_grpc
from kernel_image_puller.scheduling import Schedule
from kernel_image_puller.wanted import PullPolicy, WantedImage

# No example fails because the machine is busy. On top of what other tests of the same process have chosen.
settings.register_profile("unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


class FakeClock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall_offset = 1_700_000_000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self.wall_offset

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def _wanted(name: str, policy: PullPolicy = PullPolicy.IF_NOT_PRESENT) -> WantedImage:
    return WantedImage(parse_image_reference(name), policy, ("test",))


@pytest.fixture
def wanted() -> Callable[..., dict[str, WantedImage]]:
    """Returns a function that makes wanted images from names."""

    def make(*names: str, policy: PullPolicy = PullPolicy.IF_NOT_PRESENT) -> dict[str, WantedImage]:
        images = [_wanted(name, policy) for name in names]
        return {str(image.reference): image for image in images}

    return make


@pytest.fixture
def make_schedule(clock: FakeClock) -> Callable[..., Schedule]:
    """Returns a function that makes a schedule on the fake clock."""

    def make(*, pullers: int = 2, tries: int = 3, per_hour: int = 6, changed: Callable[[], None] = lambda: None) -> Schedule:
        policy = RetryPolicy(tries=tries, first_wait=1.0, longest_wait=60.0)
        return Schedule(pullers=pullers, retries=policy, most_pulls_per_hour=per_hour, clock=clock, changed=changed)

    return make


def _plain_image(name: str, size: int) -> Any:
    return api_pb2.Image(id=f"id-{name}", **{"repo_digests" if "@" in name else "repo_tags": [name]}, size=size)


def _plain_container(name: str) -> Any:
    return api_pb2.Container(id=name, image_id=name, image_ref=name)


@dataclass
class FakeRuntimeServer(api_pb2_grpc.ImageServiceServicer, api_pb2_grpc.RuntimeServiceServicer):
    """A container runtime that does as it is told, behind a real socket."""

    socket: Path
    images: dict[str, int] = field(default_factory=dict)
    fail: dict[str, tuple[grpc.StatusCode, str]] = field(default_factory=dict)
    blocked: dict[str, threading.Event] = field(default_factory=dict)
    pulls: list[tuple[str, str, str]] = field(default_factory=list)
    started: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)
    cancelled: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)
    lists: int = 0
    in_use: set[str] = field(default_factory=set)
    removed: list[str] = field(default_factory=list)
    mountpoint: str = "/nowhere"
    login: tuple[str, str] | None = None
    show_image: Callable[[str, int], Any] = _plain_image
    """How this runtime shows an image; what is kept under its complete name need not be listed under it."""
    show_container: Callable[[str], Any] = _plain_container
    _server: grpc.Server | None = None
    _threads: futures.ThreadPoolExecutor | None = None

    def start(self) -> None:
        self._threads = futures.ThreadPoolExecutor(8)
        self._server = grpc.server(self._threads)
        api_pb2_grpc.add_ImageServiceServicer_to_server(self, self._server)
        api_pb2_grpc.add_RuntimeServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix://{self.socket}")
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(0).wait()
            self._server = None
        for event in self.blocked.values():
            event.set()
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None

    def Version(self, request: Any, context: Any) -> Any:
        return api_pb2.VersionResponse(version="0.1.0", runtime_name="fake", runtime_version="1", runtime_api_version="v1")

    def ListContainers(self, request: Any, context: Any) -> Any:
        return api_pb2.ListContainersResponse(containers=[self.show_container(name) for name in sorted(self.in_use)])

    def ListImages(self, request: Any, context: Any) -> Any:
        self.lists += 1
        return api_pb2.ListImagesResponse(images=[self.show_image(name, size) for name, size in self.images.items()])

    def ImageStatus(self, request: Any, context: Any) -> Any:
        name = request.image.image
        if name not in self.images:
            return api_pb2.ImageStatusResponse()
        return api_pb2.ImageStatusResponse(image=self.show_image(name, self.images[name]))

    def PullImage(self, request: Any, context: Any) -> Any:
        name = request.image.image
        self.pulls.append((name, request.auth.username, request.auth.password))
        context.add_callback(lambda: None if context.is_active() else self.cancelled.put(name))
        self.started.put(name)
        if name in self.blocked:
            self.blocked[name].wait(30)
        if name in self.fail:
            context.abort(*self.fail[name])
        if self.login is not None and (request.auth.username, request.auth.password) != self.login:
            context.abort(grpc.StatusCode.UNKNOWN, "failed to authorize: 401 Unauthorized")
        self.images[name] = 42
        return api_pb2.PullImageResponse(image_ref=f"id-{name}")

    def RemoveImage(self, request: Any, context: Any) -> Any:
        self.removed.append(request.image.image)
        return api_pb2.RemoveImageResponse()

    def ImageFsInfo(self, request: Any, context: Any) -> Any:
        usage = api_pb2.FilesystemUsage(fs_id=api_pb2.FilesystemIdentifier(mountpoint=self.mountpoint))
        return api_pb2.ImageFsInfoResponse(image_filesystems=[usage])


@pytest.fixture
def fake_runtime(tmp_path: Path) -> Iterator[FakeRuntimeServer]:
    server = FakeRuntimeServer(tmp_path / "runtime.sock")
    server.start()
    yield server
    server.stop()


class _Server(http.server.ThreadingHTTPServer):
    """Ends with its connections: a client that keeps one open would keep a thread, too."""

    daemon_threads = False  # so that server_close() waits for them

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):  # the client was faster
                connection.shutdown(socket.SHUT_RDWR)


class FakeWeb:
    """A web server whose answers a test writes."""

    def __init__(self) -> None:
        self.answers: Callable[[str, str, dict[str, str], bytes], tuple[int, dict[str, str], bytes]] = (
            lambda _method, _path, _headers, _body: (404, {}, b"")
        )
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = dict(self.headers.items())
                web.requests.append((self.command, self.path, headers, body))
                status, answer_headers, answer = web.answers(self.command, self.path, headers, body)
                self.send_response(status)
                for name, value in answer_headers.items():
                    self.send_header(name, value)
                if "Transfer-Encoding" in answer_headers:
                    answer = b"%x\r\n%s\r\n0\r\n\r\n" % (len(answer), answer)
                else:
                    self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PATCH = do_DELETE = _serve

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def web() -> Iterator[FakeWeb]:
    server = FakeWeb()
    yield server
    server.close()
