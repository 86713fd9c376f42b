import base64
import gc
import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from enterprise_gateway_common.image_reference import parse_image_reference
from kernel_image_puller.cancellation import Cancellation
from kernel_image_puller.errors import (
    AuthenticationFailed,
    PermanentPullError,
    PullCancelled,
    PullFailed,
    RegistryBusy,
    RuntimeAway,
    TransientPullError,
)
from kernel_image_puller.runtimes.docker import DockerRuntime
from kernel_image_puller.runtimes.protocol import Credential, PullOrder, StoredImage
from kernel_image_puller.wanted import PullPolicy

NAME = "r.example/a:1"


class FakeEngine:
    """The few pages of a Docker engine that are asked for, over a real connection."""

    def __init__(self, web: Any) -> None:
        self.images: list[dict[str, Any]] = []
        self.lines: list[dict[str, Any]] = [{"status": "Download complete", "id": "l1"}]
        self.refusal: tuple[int, str] | None = None
        self.logins: list[dict[str, Any]] = []
        self.queries: list[str] = []
        self.address = web.url.replace("http://", "tcp://")
        web.answers = self.answer

    def answer(self, method: str, path: str, headers: dict[str, str], _body: bytes) -> tuple[int, dict[str, str], bytes]:
        if "/images/create" in path and method == "POST":
            return self.create(path, headers)
        pages: dict[str, object] = {
            "/version": {"ApiVersion": "1.41", "Version": "20.10"},
            "/images/json": self.images,
            "/images/r.example/a:1/json": {"Size": 77},
            "/containers/json": [{"Id": "c", "ImageID": "sha256:used"}],
            "/info": {"DockerRootDir": "/var/lib/docker"},
        }
        page = pages.get(path.partition("?")[0].removeprefix("/v1.41"), {"message": "no such page"})
        return 200, {"Content-Type": "application/json"}, json.dumps(page).encode()

    def create(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        self.queries.append(path.partition("?")[2])
        encoded = headers.get("X-Registry-Auth")
        self.logins.append(json.loads(base64.urlsafe_b64decode(encoded)) if encoded else {})
        if self.refusal:
            status, message = self.refusal
            return status, {"Content-Type": "application/json"}, json.dumps({"message": message}).encode()
        return 200, {"Transfer-Encoding": "chunked"}, b"".join(json.dumps(line).encode() + b"\r\n" for line in self.lines)


@pytest.fixture
def engine(web: Any) -> FakeEngine:
    return FakeEngine(web)


@pytest.fixture
def runtime(engine: FakeEngine) -> Any:
    made = DockerRuntime(address=engine.address)
    yield made
    made.close()


def _order(*, credential: Credential | None = None, timeout: float = 20.0, cancellation: Cancellation | None = None) -> PullOrder:
    return PullOrder(
        reference=parse_image_reference(NAME),
        policy=PullPolicy.IF_NOT_PRESENT,
        credential=credential,
        timeout=timeout,
        cancellation=cancellation or Cancellation(),
    )


def test_familiar_names_of_the_engine_become_complete(runtime: DockerRuntime, engine: FakeEngine) -> None:
    engine.images = [
        {"Id": "sha256:1", "RepoTags": ["python:3", "127.0.0.1:5000/x:1"], "RepoDigests": None, "Size": 5},
        {"Id": "sha256:2", "RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"], "Size": 6},
    ]
    listed = {image.identity: image.names for image in runtime.images()}
    assert listed == {"sha256:1": {"docker.io/library/python:3", "127.0.0.1:5000/x:1"}, "sha256:2": frozenset()}


def test_a_pull_asks_for_one_tag_and_returns_the_size(runtime: DockerRuntime, engine: FakeEngine) -> None:
    assert runtime.pull(_order()) == 77
    assert engine.queries == ["tag=1&fromImage=r.example%2Fa"]


def test_progress_adds_up_the_layers(runtime: DockerRuntime, engine: FakeEngine) -> None:
    engine.lines = [
        {"status": "Downloading", "id": "l1", "progressDetail": {"current": 10, "total": 100}},
        {"status": "Downloading", "id": "l2", "progressDetail": {"current": 5, "total": 50}},
        {"status": "Download complete", "id": "l1"},
    ]
    order = _order()
    runtime.pull(order)
    assert (order.progress.done_bytes, order.progress.total_bytes) == (105, 150)


def test_a_login_goes_in_a_header_and_never_in_the_url(runtime: DockerRuntime, engine: FakeEngine, web: Any) -> None:
    runtime.pull(_order(credential=Credential("place", "someone", "s3cr3t")))
    assert engine.logins == [{"username": "someone", "password": "s3cr3t"}]
    assert not any("s3cr3t" in path for _, path, _, _ in web.requests)


def test_without_a_login_the_library_looks_for_none(
    runtime: DockerRuntime, engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"auth": base64.b64encode(b"stray:login").decode()}
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"r.example": entry}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    runtime.pull(_order())
    assert engine.logins == [{}]


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        ((404, "manifest for r.example/a:1 not found: manifest unknown"), PermanentPullError),
        ((404, "pull access denied for a, repository does not exist or may require 'docker login'"), AuthenticationFailed),
        ((500, "Get https://r.example/v2/: dial tcp: connect: connection refused"), RegistryBusy),
        ((500, "toomanyrequests: too many requests"), RegistryBusy),
        ((500, "unexpected EOF"), TransientPullError),
        ((404, "something"), PermanentPullError),
    ],
)
def test_a_refusal_has_its_class(
    runtime: DockerRuntime, engine: FakeEngine, refusal: tuple[int, str], expected: type[PullFailed]
) -> None:
    engine.refusal = refusal
    with pytest.raises(PullFailed) as failed:
        runtime.pull(_order())
    assert type(failed.value) is expected


def test_an_error_in_the_middle_of_the_answer_is_an_error(runtime: DockerRuntime, engine: FakeEngine) -> None:
    engine.lines = [{"status": "Pulling"}, {"error": "unauthorized: authentication required", "errorDetail": {}}]
    with pytest.raises(AuthenticationFailed):
        runtime.pull(_order())


# The library forgets to close a socket that could not be connected; the interpreter does it and says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_an_engine_that_is_not_there_is_away(tmp_path: Path) -> None:
    runtime = DockerRuntime(address=f"unix://{tmp_path}/docker.sock")
    for call in (runtime.images, runtime.identities_in_use, runtime.image_filesystem, lambda: runtime.pull(_order())):
        with pytest.raises(RuntimeAway):
            call()
    gc.collect()


def test_images_in_use_and_the_file_system_are_told(runtime: DockerRuntime) -> None:
    assert runtime.identities_in_use() == {"sha256:used"}
    assert runtime.image_filesystem() == Path("/var/lib/docker")
    assert runtime.describe().startswith("docker 20.10 ")


def test_one_name_is_removed_and_one_that_is_gone_is_removed(runtime: DockerRuntime, web: Any) -> None:
    engine_answers = web.answers
    answer = 200, b"[]"

    def answers(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if method != "DELETE":
            return engine_answers(method, path, headers, body)
        return answer[0], {"Content-Type": "application/json"}, answer[1]

    web.answers = answers
    image = StoredImage("sha256:1", frozenset({NAME}), 1)
    runtime.remove(image, NAME)
    answer = 404, b'{"message": "No such image: x"}'
    runtime.remove(image, NAME)
    answer = 409, b'{"message": "image is being used by running container"}'
    with pytest.raises(TransientPullError, match="being used"):
        runtime.remove(image, NAME)
    assert {path.partition("?")[0] for method, path, _, _ in web.requests if method == "DELETE"} == {f"/v1.41/images/{NAME}"}


class SilentEngine:
    """Begins to answer a pull and then says nothing more."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.pulling = threading.Event()
        self.left = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                while first := stream.readline():
                    while stream.readline().strip():
                        pass
                    if b"/images/create" not in first:
                        body = b'{"ApiVersion": "1.41"}'
                        stream.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 22\r\n\r\n" + body)
                        stream.flush()
                        continue
                    stream.write(
                        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n12\r\n" + b'{"status": "x"}\r\n\n' + b"\r\n"
                    )
                    stream.flush()
                    self.pulling.set()
                    stream.read(1)
                    self.left.set()
                    break

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def silent() -> Any:
    engine = SilentEngine()
    yield engine
    engine.close()


def test_cancelling_wakes_a_silent_pull_and_leaves_the_engine(silent: SilentEngine) -> None:
    runtime = DockerRuntime(address=silent.address)
    cancellation = Cancellation()
    outcome: list[BaseException] = []

    def pull() -> None:
        try:
            runtime.pull(_order(cancellation=cancellation))
        except PullFailed as error:
            outcome.append(error)
        finally:
            runtime.close()

    thread = threading.Thread(target=pull)
    thread.start()
    assert silent.pulling.wait(5)
    cancellation.cancel()
    thread.join(5)
    assert [type(error) for error in outcome] == [PullCancelled]
    assert silent.left.wait(5)


def test_a_pull_that_takes_too_long_is_left(silent: SilentEngine) -> None:
    runtime = DockerRuntime(address=silent.address)
    with pytest.raises(TransientPullError):
        runtime.pull(_order(timeout=0.3))
    assert silent.left.wait(5)
    runtime.close()
