import contextlib
import functools
import gc
import socket

import pytest
import requests
import yaml

from enterprise_gateway.descriptors import DescriptorBudget


@pytest.mark.parametrize("path", ["/", "/nothing", "/api/nothing", "/api/kernels/a/b", "/kernelspecs/broken"])
def test_whatever_is_not_served_is_404_in_json(gateway, answer, path):
    found = answer(gateway().request("GET", path))
    assert (found.status, found.reason, found.keys) == (404, "Not Found", {"reason", "message"})


def test_every_error_says_what_is_wrong_and_what_there_is(gateway, answer):
    running = gateway(base_url="/gw", list_kernels=False)
    assert "GET /gw/api/openapi.json describes" in answer(running.request("GET", "/nothing")).message
    assert "it takes GET POST HEAD OPTIONS. GET /gw/api/openapi.json" in answer(running.request("PUT", "/api/kernels")).message
    for path in ("/api/kernels", "/api/sessions"):
        refused = answer(running.request("GET", path))
        assert (refused.status, "EG_LIST_KERNELS=True" in refused.message) == (403, True)


@pytest.mark.parametrize(
    "path", ["/api/kernelspecs?user=%ff", "/api/kernels/%ff", "/kernelspecs/broken/%ff", "/api/images?user=%ff"]
)
def test_what_is_no_utf_8_is_400_and_not_repeated(gateway, answer, path):
    refused = answer(gateway().request("GET", path))
    assert (refused.status, "isn't UTF-8" in refused.message) == (400, True)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_method_that_a_path_does_not_have_is_405_with_those_that_it_has(gateway, method):
    response = gateway().request(method, "/api/kernels")
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, POST, HEAD, OPTIONS"


# tornado leaves a socket that it couldn't bind to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
def test_a_taken_port_is_a_warning_with_both_ports_and_the_line_for_jupyterlab(gateway, caplog):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        running = gateway(port=taken, port_retries=50)
    (warned,) = [record for record in caplog.records if record.levelname == "WARNING"]
    port = running.address[1]
    assert (warned.port, warned.listens_on) == (taken, port)
    assert warned.use == f"jupyter lab --gateway-url=http://127.0.0.1:{port}"


def test_head_answers_as_get_without_a_body(gateway):
    response = gateway().request("HEAD", "/api/kernelspecs")
    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["Content-Length"]) > 0


def test_a_preflight_needs_no_token_and_carries_the_configured_headers(gateway):
    response = gateway(auth_token="x", allow_origin="https://lab.example").request("OPTIONS", "/api/kernels")
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "https://lab.example"
    assert "Access-Control-Max-Age" not in response.headers


@pytest.mark.parametrize(
    "path", ["/api", "/api/kernels", "/api/kernelspecs", "/api/sessions", "/metrics", "/kernelspecs/broken/kernel.json"]
)
def test_a_token_is_needed_for_all_that_says_anything(gateway, answer, path):
    running = gateway(auth_token="x")
    assert answer(running.request("GET", path)).status == 401
    assert running.request("GET", path + "?token=x").status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/api/openapi.json", "/api/swagger.json", "/api/swagger.yaml"])
def test_probes_and_the_description_of_the_api_need_no_token(gateway, path):
    assert gateway(auth_token="x").request("GET", path).status_code == 200


def test_an_answer_before_the_body_was_read_tells_that_the_connection_ends(gateway):
    running = gateway(auth_token="x")
    assert running.request("POST", "/api/kernels", data="{}").headers["Connection"] == "close"
    assert "Connection" not in running.request("GET", "/api/kernels/nope?token=x").headers


def test_metrics_may_be_opened(gateway):
    response = gateway(auth_token="x", authenticate_metrics=False).request("GET", "/metrics")
    assert response.status_code == 200
    assert 'enterprise_gateway_kernel_restarts_total{cause="died"} 0.0' in response.text


def test_a_method_that_a_client_invents_makes_no_time_series_of_its_own(gateway):
    running = gateway()
    for name in ("ONE", "TWO"):
        assert running.request(name, "/api").status_code == 405
    text = running.request("GET", "/metrics").text
    assert 'http_request_duration_seconds_count{code="405",method="other",route="/api"} 2.0' in text
    assert "ONE" not in text


def test_connections_beyond_the_bound_are_closed_and_there_is_a_place_when_one_ends(gateway):
    running = gateway(max_http_connections=16)
    address = running.address
    with contextlib.ExitStack() as stack:
        first = [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(16)]
        for one in first:
            one.sendall(b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n")
            assert one.recv(12) == b"HTTP/1.1 200"
        one_too_many = stack.enter_context(socket.create_connection(address, timeout=20))
        assert one_too_many.recv(1) == b""
        first[0].shutdown(socket.SHUT_WR)
        while first[0].recv(4096):
            pass
        # The client sees the end of its connection before the server has counted it; pytest's timeout ends the wait.
        while True:
            with contextlib.suppress(requests.ConnectionError):
                assert running.request("GET", "/livez").status_code == 200
                break


def test_a_gateway_without_room_for_a_kernel_says_so(gateway, answer, monkeypatch):
    full = functools.partial(DescriptorBudget, limit=lambda: 100, in_use=lambda: 70)
    monkeypatch.setattr("enterprise_gateway.wiring.DescriptorBudget", full)
    refused = answer(gateway().request("POST", "/api/kernels", json={"name": "broken"}))
    assert (refused.status, "limit of open files" in refused.message) == (503, True)


def test_a_gateway_that_is_being_stopped_is_not_ready_and_starts_nothing(gateway, answer):
    running = gateway()
    running.drain()
    assert running.request("GET", "/readyz").status_code == 503
    assert running.request("GET", "/livez").status_code == 200
    assert answer(running.request("POST", "/api/kernels", json={})).status == 503


def test_everything_is_below_the_base_url(gateway):
    running = gateway(base_url="gateway")
    found = running.request("GET", "/api/kernelspecs").json()
    assert found["kernelspecs"]["broken"]["resources"]["logo-64x64"] == "/gateway/kernelspecs/broken/logo-64x64.png"


def test_an_unchanged_list_of_kernelspecs_is_304(gateway):
    running = gateway()
    tag = running.request("GET", "/api/kernelspecs").headers["Etag"]
    again = running.request("GET", "/api/kernelspecs", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_the_request_id_of_a_proxy_is_sent_back_when_it_is_one(gateway):
    running = gateway()
    assert running.request("GET", "/livez", headers={"X-Request-ID": "a-1"}).headers["X-Request-ID"] == "a-1"
    assert "X-Request-ID" not in running.request("GET", "/livez", headers={"X-Request-ID": "a b"}).headers


def test_no_answer_names_the_server_program(gateway):
    assert "Server" not in gateway().request("GET", "/nothing").headers


def test_the_description_names_every_route_and_its_aliases_hold_the_same(gateway):
    running = gateway(auth_token="x")
    document = running.request("GET", "/api/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]["/api/kernels"]) == {"get", "post"}
    assert document["paths"]["/api/kernels/{kernel_id}"]["delete"]["security"] == [{"bearer": []}, {"token": []}]
    assert "security" not in document["paths"]["/livez"]["get"]
    assert running.request("GET", "/api/swagger.json").json() == document
    assert yaml.safe_load(running.request("GET", "/api/swagger.yaml").text) == document


@pytest.mark.parametrize(
    "path",
    [
        "scripts/kernel-pod.yaml.j2",
        "link.txt",
        "../restricted/kernel.json",
        "..%2frestricted%2fkernel.json",
        "no.png",
        "%00",
        ".",
    ],
)
def test_of_a_kernelspecs_folder_only_what_browsers_need_is_served(gateway, answer, path):
    # requests would take dots out of a path itself, so they are sent escaped.
    escaped = path.replace("../", "%2e%2e/")
    assert answer(gateway().request("GET", f"/kernelspecs/broken/{escaped}")).status == 404


def test_a_logo_is_served_with_its_type(gateway):
    response = gateway().request("GET", "/kernelspecs/broken/logo-64x64.png")
    assert (response.status_code, response.content, response.headers["Content-Type"]) == (200, b"png", "image/png")


def test_a_user_is_shown_what_that_user_may_start(gateway, answer):
    running = gateway()
    assert set(running.request("GET", "/api/kernelspecs?user=bob").json()["kernelspecs"]) == {"broken", "yarn"}
    assert set(running.request("GET", "/api/kernelspecs?user=alice").json()["kernelspecs"]) == {"broken", "yarn", "restricted"}
    assert answer(running.request("GET", "/api/kernelspecs/restricted?user=bob")).status == 403
    assert answer(running.request("GET", "/kernelspecs/restricted/kernel.json?user=bob")).status == 403
    assert running.request("GET", "/kernelspecs/restricted/kernel.json?user=alice").status_code == 200


def test_the_error_for_an_unknown_kernelspec_names_only_those_that_the_user_may_start(gateway, answer):
    running = gateway()
    assert answer(running.request("GET", "/api/kernelspecs/nope?user=bob")).message.endswith("here: broken, yarn.")
    body = {"name": "nope", "env": {"KERNEL_USERNAME": "bob"}}
    assert answer(running.request("POST", "/api/kernels", json=body)).message.endswith("here: broken, yarn.")


def test_what_a_gateway_that_serves_is_made_of_is_collected_no_more(gateway):
    gc.unfreeze()
    gateway()
    assert gc.get_freeze_count() > 10_000
