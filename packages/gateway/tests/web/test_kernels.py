import contextlib
import http.client
import json
import socket
import uuid

import pytest


def start(running, name="broken", **env):
    return running.request("POST", "/api/kernels", json={"name": name, "env": env})


def test_listing_is_refused_where_it_is_not_allowed(gateway, answer):
    running = gateway(list_kernels=False)
    for path in ("/api/kernels", "/api/sessions"):
        found = answer(running.request("GET", path))
        assert (found.status, found.reason) == (403, "Forbidden")


@pytest.fixture
def kubeconfig_of_nobody(tmp_path):
    """The kubeconfig of a cluster whose API server doesn't answer."""
    with socket.socket() as taken:
        # Bound and not listening: whoever connects is refused, and nobody else can listen here.
        taken.bind(("127.0.0.1", 0))
        cluster = {"server": f"http://127.0.0.1:{taken.getsockname()[1]}"}
        path = tmp_path / "kubeconfig"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {}}],
        }
        path.write_text(json.dumps(content))
        yield str(path)


def test_while_the_clusters_kernels_arent_known_nothing_is_listed_denied_or_counted_and_clients_are_told_when_to_come_again(
    gateway, kubeconfig_of_nobody
):
    running = gateway(kubernetes="on", kubeconfig=kubeconfig_of_nobody, max_kernels=5)
    unknown = str(uuid.uuid4())
    asked = [
        *(("GET", path) for path in ("/api/kernels", "/api/sessions", "/api/images", f"/api/kernels/{unknown}")),
        ("DELETE", f"/api/kernels/{unknown}"),
        *(("POST", f"/api/kernels/{unknown}/{action}") for action in ("interrupt", "restart")),
        ("GET", f"/api/kernels/{unknown}/channels"),
        ("POST", "/api/kernels"),
    ]
    answers = {(method, path): running.request(method, path, json={"name": "broken"}) for method, path in asked * 2}
    assert {key: (found.status_code, int(found.headers["Retry-After"])) for key, found in answers.items()} == dict.fromkeys(
        asked, (503, 2)
    )
    assert running.request("GET", "/readyz").json()["problems"][0] == "the kernels of the cluster haven't been found yet"
    # What needs no picture is served.
    assert running.request("GET", "/api/kernelspecs").status_code == 200


def test_a_kernel_of_this_machine_is_started_though_the_clusters_kernels_arent_known(gateway, answer, kubeconfig_of_nobody):
    running = gateway(kubernetes="on", kubeconfig=kubeconfig_of_nobody)
    assert answer(start(running)).message == "The program of kernelspec 'broken' can't be executed: No such file or directory."
    assert start(running, KERNEL_ID=str(uuid.uuid4())).status_code == 503


def test_a_kernel_that_cannot_be_started_says_why_without_the_servers_paths(gateway, answer):
    running = gateway()
    found = answer(start(running))
    assert found.status == 500
    assert found.message == "The program of kernelspec 'broken' can't be executed: No such file or directory."
    assert running.request("GET", "/api/kernels").json() == []


def test_an_environment_that_the_machine_refuses_is_the_clients_mistake(gateway, answer, kernelspec_folder):
    spec = kernelspec_folder / "broken" / "kernel.json"
    spec.write_text(spec.read_text().replace("/no/such/program", "/bin/true"))
    running = gateway(max_env_value_size=300_000, max_env_size=300_000)
    found = answer(start(running, KERNEL_LONG="x" * 250_000))
    assert (found.status, "larger than this machine lets a program have" in found.message) == (400, True)
    assert running.request("GET", "/api/kernels").json() == []


def test_an_unknown_kernel_name_is_404_with_the_names_that_exist(gateway, answer):
    found = answer(start(gateway(), "nope"))
    assert (found.status, found.message) == (
        404,
        "No such kernel named 'nope'. Kernels that exist here: broken, yarn.",
    )


def test_a_platform_that_is_not_served_is_named(gateway, answer):
    found = answer(start(gateway(), "yarn"))
    assert found.status == 501
    assert "YarnClusterProcessProxy" in found.message


def test_a_user_who_may_not_start_a_kernel_is_told_so(gateway, answer):
    assert answer(start(gateway(), "restricted", KERNEL_USERNAME="bob")).status == 403


def test_no_more_kernels_than_the_limit(gateway, answer):
    found = answer(start(gateway(max_kernels=0)))
    assert (found.status, found.reason) == (403, "Resource Limit")


@pytest.mark.parametrize("origin", ["http://evil.example", "null"])
def test_a_page_of_another_origin_changes_nothing(gateway, answer, origin):
    assert answer(gateway().request("POST", "/api/kernels", json={}, headers={"Origin": origin})).status == 403


@pytest.mark.parametrize("content_type", ["text/html", "multipart/form-data", "application/xml", "application/octet-stream"])
def test_a_body_that_calls_itself_something_else_is_refused(gateway, answer, content_type):
    assert answer(gateway().request("POST", "/api/kernels", data="{}", headers={"Content-Type": content_type})).status == 415


@pytest.mark.parametrize(
    "body", ["x", "[]", "null", "1", '{"name": 1}', '{"env": []}', '{"env": {"KERNEL_X": 1}}', '{"x": ' + "[" * 100_000]
)
def test_a_body_of_another_shape_is_refused(gateway, answer, body):
    found = answer(gateway().request("POST", "/api/kernels", data=body))
    assert found.status == 400
    assert found.keys == {"reason", "message"}


def test_a_body_that_is_nested_too_deeply_is_said_to_be_so(gateway, answer):
    body = '{"path": "a", "type": "b", "notebook": ' + '{"a":' * 20_000 + "1" + "}" * 20_001
    found = answer(gateway().request("POST", "/api/sessions", data=body))
    assert (found.status, found.message) == (400, "The body is nested too deeply.")


def test_a_body_beyond_the_bound_is_refused_with_and_without_a_declared_length(gateway, answer):
    running = gateway(max_body_size=2048)
    body = b'{"x": "' + b"y" * 4096 + b'"}'
    assert answer(running.request("POST", "/api/kernels", data=body)).status == 413
    assert answer(running.request("POST", "/api/kernels", data=iter([body]))).status == 413


def test_a_length_of_more_digits_than_python_reads_is_refused(gateway):
    with contextlib.closing(http.client.HTTPConnection(*gateway().address, timeout=10)) as connection:
        connection.putrequest("POST", "/api/kernels")
        connection.putheader("Content-Length", "9" * 5000)
        connection.endheaders()
        assert connection.getresponse().status in {400, 413}


@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("DELETE", ""), ("POST", "/interrupt"), ("POST", "/restart")])
@pytest.mark.parametrize("kernel_id", ["nope", "01234567-89ab-4cde-8f01-23456789abcd", "%0a", "x" * 4000])
def test_an_unknown_id_is_404_and_is_not_repeated_at_length(gateway, answer, method, rest, kernel_id):
    found = answer(gateway().request(method, f"/api/kernels/{kernel_id}{rest}"))
    assert found.status == 404
    assert len(found.message) < 200
    assert "\n" not in found.message


def test_a_session_needs_a_path_and_a_type(gateway, answer):
    assert answer(gateway().request("POST", "/api/sessions", json={"path": "a.ipynb"})).status == 400


def test_a_session_whose_kernel_cannot_be_started_is_not_kept(gateway, answer):
    running = gateway()
    body = {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "broken"}}
    assert answer(running.request("POST", "/api/sessions", json=body)).status == 500
    assert running.request("GET", "/api/sessions").json() == []


def test_an_unknown_session_is_404(gateway, answer):
    running = gateway()
    for method in ("GET", "DELETE"):
        assert answer(running.request(method, "/api/sessions/nope")).status == 404
    assert answer(running.request("PATCH", "/api/sessions/nope", json={})).status == 404
