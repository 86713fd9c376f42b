import threading
from pathlib import Path
from typing import Any

import grpc
import pytest

from enterprise_gateway_common.image_reference import parse_image_reference
from kernel_image_puller.cancellation import Cancellation
from kernel_image_puller.errors import (
    AuthenticationFailed,
    ConfigurationError,
    DiskFull,
    PermanentPullError,
    PullCancelled,
    PullFailed,
    RegistryBusy,
    RuntimeAway,
    TransientPullError,
)
from kernel_image_puller.runtimes.cri import CriRuntime
from kernel_image_puller.runtimes.protocol import Credential, PullOrder, StoredImage
from kernel_image_puller.wanted import PullPolicy

NAME = "docker.io/library/a:1"


@pytest.fixture
def runtime(fake_runtime: Any) -> Any:
    client = CriRuntime(endpoint=f"unix://{fake_runtime.socket}")
    yield client
    client.close()


def _order(
    *, credential: Credential | None = None, timeout: float = 10.0, cancellation: Cancellation | None = None, name: str = NAME
) -> PullOrder:
    return PullOrder(
        reference=parse_image_reference(name),
        policy=PullPolicy.IF_NOT_PRESENT,
        credential=credential,
        timeout=timeout,
        cancellation=cancellation or Cancellation(),
    )


def test_the_list_has_every_image_by_its_complete_names(runtime: CriRuntime, fake_runtime: Any) -> None:
    digest = "docker.io/library/b@sha256:" + "0" * 64
    fake_runtime.images = {NAME: 7, digest: 8, "<none>:<none>": 9}
    assert {name: image.size for image in runtime.images() for name in image.names} == {NAME: 7, digest: 8}


def test_a_list_beyond_grpcs_usual_bound_can_be_read(runtime: CriRuntime, fake_runtime: Any) -> None:
    fake_runtime.images = {f"registry.example/{'x' * 200}/{number}:1": 1 for number in range(12_000)}
    assert len(runtime.images()) == 12_000


def test_a_pull_returns_the_size(runtime: CriRuntime) -> None:
    assert runtime.pull(_order()) == 42


def test_a_login_goes_with_the_pull(runtime: CriRuntime, fake_runtime: Any) -> None:
    fake_runtime.login = ("someone", "secret")
    with pytest.raises(AuthenticationFailed):
        runtime.pull(_order())
    assert runtime.pull(_order(credential=Credential("place", "someone", "secret"))) == 42


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        (grpc.StatusCode.NOT_FOUND, "not found", PermanentPullError),
        (grpc.StatusCode.UNKNOWN, "failed to pull: 401 Unauthorized", AuthenticationFailed),
        (grpc.StatusCode.UNKNOWN, "failed with status code [manifests 1]: 429 Too Many Requests", RegistryBusy),
        (grpc.StatusCode.UNKNOWN, "write: no space left on device", DiskFull),
        (grpc.StatusCode.UNKNOWN, "connection reset by peer", TransientPullError),
        (grpc.StatusCode.UNAVAILABLE, "failed to pull and unpack image: 503 Service Unavailable", RegistryBusy),
        (grpc.StatusCode.UNAVAILABLE, "transport is closing", RuntimeAway),
        (grpc.StatusCode.CANCELLED, "context canceled", TransientPullError),
    ],
)
def test_a_refused_pull_has_its_class(
    runtime: CriRuntime, fake_runtime: Any, code: grpc.StatusCode, details: str, expected: type[PullFailed]
) -> None:
    fake_runtime.fail[NAME] = (code, details)
    with pytest.raises(PullFailed) as failed:
        runtime.pull(_order())
    assert type(failed.value) is expected


def test_a_pull_that_takes_too_long_is_cancelled_at_the_runtime(runtime: CriRuntime, fake_runtime: Any) -> None:
    fake_runtime.blocked[NAME] = threading.Event()
    with pytest.raises(TransientPullError, match="not pulled within"):
        runtime.pull(_order(timeout=0.3))
    assert fake_runtime.cancelled.get(timeout=5) == NAME


def test_cancelling_ends_the_pull_here_and_at_the_runtime(runtime: CriRuntime, fake_runtime: Any) -> None:
    fake_runtime.blocked[NAME] = threading.Event()
    cancellation = Cancellation()
    outcome: list[BaseException] = []

    def pull() -> None:
        try:
            runtime.pull(_order(cancellation=cancellation))
        except PullFailed as error:
            outcome.append(error)

    thread = threading.Thread(target=pull)
    thread.start()
    assert fake_runtime.started.get(timeout=5) == NAME
    cancellation.cancel()
    thread.join(5)
    assert [type(error) for error in outcome] == [PullCancelled]
    assert fake_runtime.cancelled.get(timeout=5) == NAME


def test_a_runtime_that_is_not_there_is_away(tmp_path: Path) -> None:
    client = CriRuntime(endpoint=f"unix://{tmp_path}/nothing.sock")
    for call in (
        client.images,
        client.identities_in_use,
        client.image_filesystem,
        client.describe,
        lambda: client.pull(_order()),
    ):
        with pytest.raises(RuntimeAway):
            call()
    client.close()


def test_a_runtime_that_comes_back_on_a_new_socket_is_found_again(runtime: CriRuntime, fake_runtime: Any) -> None:
    runtime.images()
    fake_runtime.stop()
    with pytest.raises(RuntimeAway):
        runtime.images()
    fake_runtime.socket.unlink(missing_ok=True)
    fake_runtime.start()
    for _ in range(200):
        try:
            assert runtime.images() == []
        except RuntimeAway:
            threading.Event().wait(0.05)
        else:
            return
    pytest.fail("not found again within ten seconds")


def test_something_that_is_no_container_runtime_is_named(tmp_path: Path) -> None:
    from concurrent import futures

    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_insecure_port(f"unix://{tmp_path}/other.sock")
    server.start()
    client = CriRuntime(endpoint=f"unix://{tmp_path}/other.sock")
    with pytest.raises(ConfigurationError, match="doesn't speak"):
        client.images()
    client.close()
    server.stop(0).wait()


def test_images_in_use_and_the_file_system_are_told(runtime: CriRuntime, fake_runtime: Any) -> None:
    fake_runtime.in_use = {"id-1"}
    fake_runtime.mountpoint = "/var/lib/images"
    assert runtime.identities_in_use() == {"id-1"}
    assert runtime.image_filesystem() == Path("/var/lib/images")
    assert runtime.describe().startswith("fake 1 ")


def test_an_image_is_removed_by_its_identity(runtime: CriRuntime, fake_runtime: Any) -> None:
    runtime.remove(StoredImage("id-1", frozenset({NAME}), 1), NAME)
    assert fake_runtime.removed == ["id-1"]
