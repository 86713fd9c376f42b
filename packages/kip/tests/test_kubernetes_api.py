import json
from pathlib import Path
from typing import Any

import pytest

from kernel_image_puller.errors import ConfigurationError, KubernetesCallFailed
from kernel_image_puller.kubernetes_api import KubernetesApi, from_service_account


@pytest.fixture
def api(web: Any, tmp_path: Path) -> Any:
    (tmp_path / "token").write_text("t0k3n\n")
    (tmp_path / "ca.crt").write_text("")
    made = KubernetesApi(url=web.url, token_file=tmp_path / "token", ca_file=tmp_path / "ca.crt")
    yield made
    made.close()


def _answer_with(web: Any, document: object, status: int = 200) -> None:
    web.answers = lambda *_request: (status, {"Content-Type": "application/json"}, json.dumps(document).encode())


def test_calls_carry_the_token_that_is_valid_now(web: Any, api: KubernetesApi, tmp_path: Path) -> None:
    _answer_with(web, {"metadata": {"name": "n1"}})
    api.node("n1")
    (tmp_path / "token").write_text("renewed")
    api.node("n1")
    assert [request[2]["Authorization"] for request in web.requests] == ["Bearer t0k3n", "Bearer renewed"]


def test_names_cannot_leave_their_place_in_the_path(web: Any, api: KubernetesApi) -> None:
    _answer_with(web, {})
    api.node("a?b c")
    assert web.requests[0][1] == "/api/v1/nodes/a%3Fb%20c"


def test_taints_are_set_only_on_the_node_that_was_read(web: Any, api: KubernetesApi) -> None:
    _answer_with(web, {})
    api.set_taints({"metadata": {"name": "n1", "resourceVersion": "7"}}, [{"key": "a"}])
    method, path, headers, body = web.requests[0]
    assert (method, path, headers["Content-Type"]) == ("PATCH", "/api/v1/nodes/n1", "application/merge-patch+json")
    assert json.loads(body) == {"metadata": {"resourceVersion": "7"}, "spec": {"taints": [{"key": "a"}]}}


def test_a_pod_is_deleted_without_grace_and_a_missing_one_is_deleted(web: Any, api: KubernetesApi) -> None:
    _answer_with(web, {"message": "not found"}, status=404)
    api.delete_pod("ns", "p")
    assert json.loads(web.requests[0][3]) == {"gracePeriodSeconds": 0}


def test_a_refusal_has_its_status_and_the_servers_words(web: Any, api: KubernetesApi) -> None:
    _answer_with(web, {"message": 'pods is forbidden: User "x" cannot create'}, status=403)
    with pytest.raises(KubernetesCallFailed, match="is forbidden") as failed:
        api.create_pod("ns", {})
    assert failed.value.status == 403


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff"])
def test_an_answer_that_is_no_json_is_a_failure(web: Any, api: KubernetesApi, body: bytes) -> None:
    web.answers = lambda *_request: (200, {}, body)
    with pytest.raises(KubernetesCallFailed):
        api.node("n1")


def test_a_server_that_is_away_has_no_status_and_shows_no_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0k3n")
    away = KubernetesApi(url="http://127.0.0.1:1", token_file=tmp_path / "token", ca_file=tmp_path / "none")
    with pytest.raises(KubernetesCallFailed) as failed:
        away.node("n1")
    assert failed.value.status == 0
    assert "t0k3n" not in str(failed.value)
    away.close()


def test_a_machine_that_is_no_pod_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a pod"):
        from_service_account({}, tmp_path)
    with pytest.raises(ConfigurationError, match="token"):
        from_service_account({"KUBERNETES_SERVICE_HOST": "fd00::1"}, tmp_path)


@pytest.mark.parametrize("token", [b"", b"s3cr3t\ns3cr3t", b"s3cr3t\xff"])
def test_a_file_without_a_token_is_a_failure_that_shows_nothing_of_it(
    web: Any, api: KubernetesApi, tmp_path: Path, token: bytes
) -> None:
    (tmp_path / "token").write_bytes(token)
    with pytest.raises(KubernetesCallFailed, match="doesn't hold a token") as failed:
        api.node("n1")
    assert (failed.value.status, web.requests) == (0, [])
    assert "s3cr3t" not in str(failed.value)
