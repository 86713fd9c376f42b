"""What holds for every path: methods, tokens, the base URL, health, metrics, and the kernelspecs that are read."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

import pytest
import requests
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.servers import Server

pytestmark = pytest.mark.usefixtures("_ours")


def test_kernelspecs_answer_304_while_nothing_changed(server: Server) -> None:
    first = server.request("GET", "/api/kernelspecs")
    assert first.json()["default"] == "python3"
    again = server.request("GET", "/api/kernelspecs", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_changed_kernelspec_is_seen_within_two_seconds(server: Server) -> None:
    name = f"added-{uuid.uuid4().hex[:6]}"
    etag = server.request("GET", "/api/kernelspecs").headers["ETag"]
    server.workspace.add_kernelspec(name, ["true"])
    wait_until(lambda: name in server.request("GET", "/api/kernelspecs").json()["kernelspecs"], timeout=2)
    assert server.request("GET", "/api/kernelspecs", headers={"If-None-Match": etag}).status_code == 200
    server.workspace.add_kernelspec(name, ["true"], env={"NEW": "yes"})
    spec = f"/api/kernelspecs/{name}"
    wait_until(lambda: server.request("GET", spec).json()["spec"]["env"] == {"NEW": "yes"}, timeout=2)


def test_a_kernelspecs_files_are_served_and_nothing_beside_them(server: Server) -> None:
    assert server.request("GET", "/kernelspecs/python3/logo-64x64.png").content.startswith(b"\x89PNG")
    for path in ("no-such-file.png", "%2e%2e/%2e%2e/kernels/failing/kernel.json", "..%2f..%2f..%2f..%2fetc%2fpasswd"):
        assert server.request("GET", f"/kernelspecs/python3/{path}").status_code in {400, 403, 404}


def test_head_answers_as_get_without_a_body(server: Server) -> None:
    for path in ("/api", "/api/kernelspecs", "/api/kernels", "/livez", "/readyz"):
        get, head = server.request("GET", path), server.request("HEAD", path)
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert head.headers["Content-Type"] == get.headers["Content-Type"]


def test_options_answers_without_a_token(server: Server) -> None:
    for path in ("/api", "/api/kernels", f"/api/kernels/{uuid.uuid4()}", "/api/kernelspecs", "/api/sessions"):
        assert requests.options(server.url + path, timeout=10).status_code in {200, 204}, path


def test_a_trailing_slash_makes_no_difference(server: Server) -> None:
    for path in ("/api/", "/api/kernels/", "/api/kernelspecs/", "/api/sessions/"):
        assert server.request("GET", path, allow_redirects=False).status_code == 200, path


def test_an_unknown_path_is_404_in_json(server: Server) -> None:
    for path in ("/", "/api/nothing", "/nothing"):
        answer = server.request("GET", path)
        assert answer.status_code == 404
        assert answer.json()["reason"] == "Not Found"


def test_a_method_that_does_not_exist_is_405_in_json(server: Server) -> None:
    answer = server.request("PUT", "/api/kernels", json={})
    assert answer.status_code == 405
    assert set(answer.json()) == {"reason", "message"}


def test_the_token_is_asked_of_everything_but_health(server: Server) -> None:
    guarded = ["/api", "/api/kernels", "/api/kernelspecs", "/api/sessions", "/kernelspecs/python3/logo-64x64.png"]
    for path in guarded:
        for headers in ({}, {"Authorization": "token wrong"}, {"Authorization": "Bearer wrong"}, {"Authorization": server.token}):
            answer = requests.get(server.url + path, headers=headers, timeout=10)
            assert answer.status_code == 401, (path, headers)
            assert set(answer.json()) == {"reason", "message"}
    for path in ("/livez", "/readyz"):
        assert requests.get(server.url + path, timeout=10).status_code == 200


@pytest.mark.parametrize("how", ["token", "bearer", "query"])
def test_each_way_to_hand_over_the_token_works(server: Server, how: str) -> None:
    headers = {"token": {"Authorization": f"token {server.token}"}, "bearer": {"Authorization": f"Bearer {server.token}"}}
    query = {"token": server.token} if how == "query" else {}
    assert requests.get(server.url + "/api", headers=headers.get(how), params=query, timeout=10).status_code == 200


def test_metrics_count_what_happened(server: Server, kernel: str) -> None:
    with KernelSocket(server, kernel) as client:
        client.run("1")
        text = server.request("GET", "/metrics").text
    assert re.search(r"_websocket_connections [1-9]", text)
    assert re.search(r'_http_request_duration_seconds_count{[^}]*code="200"', text)
    assert kernel not in text
    assert re.search(r'_kernels{[^}]*kernelspec="python3"[^}]*} [1-9]', text)


def test_the_description_of_the_api_is_served_under_all_its_names(server: Server) -> None:
    description = server.request("GET", "/api/openapi.json").json()
    assert description["openapi"].startswith("3.1")
    assert server.request("GET", "/api/swagger.json").json() == description
    yaml = server.request("GET", "/api/swagger.yaml")
    assert yaml.status_code == 200
    assert "/api/kernels" in yaml.text


def test_everything_lies_below_the_base_url(own_server: Callable[..., Server]) -> None:
    server = own_server(base_url="/team/gateway")
    assert server.request("GET", "/api").status_code == 200
    outside = server.url.removesuffix("/team/gateway")
    assert requests.get(outside + "/api", headers=server.headers, timeout=10).status_code == 404
    answer = server.request("POST", "/api/kernels", json={})
    assert answer.headers["Location"].startswith("/team/gateway/api/kernels/")
    resources = server.request("GET", "/api/kernelspecs").json()["kernelspecs"]["python3"]["resources"]
    assert resources["logo-64x64"].startswith("/team/gateway/kernelspecs/")
    with KernelSocket(server, answer.json()["id"]) as client:
        assert text_of(client.run("print(1)")) == "1\n"
