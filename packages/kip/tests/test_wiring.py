from typing import Any

import pytest

from kernel_image_puller.clock import SystemClock
from kernel_image_puller.errors import ConfigurationError
from kernel_image_puller.runtimes.cri import CriRuntime
from kernel_image_puller.runtimes.docker import DockerRuntime
from kernel_image_puller.settings import Settings
from kernel_image_puller.wiring import build


def _build(environment: dict[str, str] | None = None, **settings: Any) -> Any:
    return build(Settings(images=("a",), **settings), environment or {}, clock=SystemClock())


def test_an_endpoint_makes_its_runtime_without_connecting() -> None:
    parts = _build(cri_endpoint="unix:///nowhere/containerd.sock")
    assert isinstance(parts.runtime, CriRuntime)
    parts.runtime.close()
    assert isinstance(_build(cri_endpoint="unix:///nowhere/docker.sock").runtime, DockerRuntime)


def test_outside_of_a_cluster_nobody_is_asked_for_the_node() -> None:
    parts = _build(cri_endpoint="docker://", node_labels=(("gpu", "yes"),))
    assert parts.api is None
    assert parts.node.labels() == {"gpu": "yes"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cri_endpoint": "kubelet://"}, "not a pod"),
        ({"cri_endpoint": "docker://", "image_fetcher": "ConfigMapImagesFetcher"}, "not a pod"),
        ({"cri_endpoint": "docker://", "kubernetes": True}, "not a pod"),
        ({"cri_endpoint": "docker://", "image_fetcher": "FileImagesFetcher"}, "KIP_IMAGES_FILE"),
    ],
)
def test_what_cannot_work_here_is_refused_at_once(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        _build(**settings)


def test_mounted_pull_secrets_and_the_docker_clients_file_are_looked_at_by_default(tmp_path: Any) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text('{"auths": {"docker.io": {"username": "u", "password": "p"}}}')
    parts = _build({"HOME": str(tmp_path)}, cri_endpoint="docker://")
    (image,) = parts.sources.fetch()
    from enterprise_gateway_common.image_reference import parse_image_reference

    assert [candidate.username for candidate in parts.credentials.candidates(parse_image_reference(image.image))] == ["u"]


def test_an_image_that_was_brought_is_told_to_the_clean_up(fake_runtime: Any, tmp_path: Any) -> None:
    state = tmp_path / "brought.json"
    parts = _build(
        cri_endpoint=f"unix://{fake_runtime.socket}", remove_after_hours=1.0, state_file=str(state), min_free_percent=0.0
    )
    parts.rounds.round()
    parts.puller.do(parts.schedule.take_now())
    assert state.read_text() == '["docker.io/library/a:latest"]'
    parts.runtime.close()
