"""Requests that are wrong: each gets a clear 4xx in JSON, and nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import socket
import uuid
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests
    from tests.support.servers import Server

pytestmark = pytest.mark.usefixtures("_ours")

_MEGABYTE = 1_000_000


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(server: Server) -> Iterator[None]:
    kernels, processes = server.kernel_ids(), {child.pid for child in server.descendants()}
    yield
    assert server.running
    assert server.kernel_ids() == kernels
    assert {child.pid for child in server.descendants()} <= processes
    assert server.request("GET", "/readyz").status_code == 200


def _assert_clear(answer: requests.Response, status: set[int]) -> None:
    """A client error in JSON whose words hold neither a traceback nor a path of the server."""
    assert answer.status_code in status, f"{answer.status_code} {answer.text[:500]}"
    assert answer.headers["Content-Type"].startswith("application/json")
    assert set(answer.json()) == {"reason", "message"}
    # A path that leads nowhere has no words of its own, as Enterprise Gateway's has none.
    assert answer.json()["message"].strip() or answer.status_code == 404
    for secret in ("Traceback", "site-packages", "/packages/", ".py"):
        assert secret not in answer.text
    assert len(answer.text) < 2000


def _env(**env: object) -> dict[str, object]:
    return {"name": "python3", "env": env}


_BODIES: dict[str, object] = {
    "a list": [],
    "a text": "python3",
    "a number": 3,
    "name is a number": {"name": 3},
    "name is an object": {"name": {}},
    "name is empty": {"name": "", "env": []},
    "path is a list": {"name": "python3", "path": []},
    "env is a list": {"name": "python3", "env": []},
    "env is a text": {"name": "python3", "env": "KERNEL_X=1"},
    "env value is a number": _env(KERNEL_X=1),
    "env value is null": _env(KERNEL_X=None),
    "env value is an object": _env(KERNEL_X={}),
    "env value with NUL": _env(KERNEL_X="a\0b"),
    "env value with a newline": _env(KERNEL_X="a\nb"),
    "env value with a carriage return": _env(KERNEL_X="a\rb"),
    "env value with an escape": _env(KERNEL_X="\x1b[2J"),
    "env value of a megabyte": _env(KERNEL_X="x" * _MEGABYTE),
    "env name with =": _env(**{"KERNEL_X=1": "a"}),
    "env name with NUL": _env(**{"KERNEL_\0": "a"}),
    "env name with a newline": _env(**{"KERNEL_\nX": "a"}),
    "env name of a megabyte": _env(**{"KERNEL_" + "X" * _MEGABYTE: "a"}),
    "10,000 names": _env(**{f"KERNEL_{number}": "a" for number in range(10_000)}),
    "id is no id": _env(KERNEL_ID="../../etc"),
    "id is not a version 4": _env(KERNEL_ID="00000000-0000-0000-0000-000000000000"),
    "launch timeout is no number": _env(KERNEL_LAUNCH_TIMEOUT="soon"),
    "launch timeout is negative": _env(KERNEL_LAUNCH_TIMEOUT="-1"),
    "launch timeout is NaN": _env(KERNEL_LAUNCH_TIMEOUT="nan"),
    "launch timeout is infinite": _env(KERNEL_LAUNCH_TIMEOUT="inf"),
    "a mistyped name": {"nam": "python3"},
    "a field that does not exist": {"name": "python3", "cwd": "folder"},
    "user with a newline": _env(KERNEL_USERNAME="ada\nroot"),
}


@pytest.mark.parametrize("case", _BODIES)
def test_a_start_with_a_wrong_body_is_400(server: Server, case: str) -> None:
    _assert_clear(server.request("POST", "/api/kernels", json=_BODIES[case]), {400, 413})


def test_a_wrong_type_in_env_names_the_variable(server: Server) -> None:
    answer = server.request("POST", "/api/kernels", json=_env(KERNEL_X="right", KERNEL_MEMORY=4))
    _assert_clear(answer, {400})
    assert "KERNEL_MEMORY" in answer.json()["message"]


@pytest.mark.parametrize(
    "name", ["../python3", "..", "python3/../python3", "/etc/passwd", "%2e%2e", "python3\0", "pythön", "x" * 10_000]
)
def test_a_kernelspec_name_that_is_a_path_is_no_kernelspec(server: Server, name: str) -> None:
    _assert_clear(server.request("POST", "/api/kernels", json={"name": name}), {400, 404})


_NO_JSON = {
    "cut": b"{",
    "words": b"not json",
    "no utf-8": b"\xff\xfe\x00",
    "open": b'{"name": "python3"',
    "NaN": b'{"name": NaN}',
    "deep list": b"[" * 100_000,
    "deep object": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
}


@pytest.mark.parametrize("case", _NO_JSON)
@pytest.mark.parametrize("path", ["/api/kernels", "/api/sessions"])
def test_a_body_that_is_no_json_is_400(server: Server, path: str, case: str) -> None:
    answer = server.request("POST", path, data=_NO_JSON[case], headers={"Content-Type": "application/json"})
    _assert_clear(answer, {400})


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/xml", "application/octet-stream", "nonsense"])
def test_a_body_that_calls_itself_something_else_is_415(server: Server, kind: str) -> None:
    answer = server.request("POST", "/api/kernels", data=b'{"name": "python3"}', headers={"Content-Type": kind})
    _assert_clear(answer, {415})


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain;charset=UTF-8"])
def test_a_page_of_another_origin_starts_nothing(server: Server, kind: str) -> None:
    # What a browser sends without asking first. The types themselves are in use: curl's `-d` declares its JSON as a form,
    # JupyterLab's `fetch` as text; neither has an origin of somebody else.
    headers = {"Content-Type": kind, "Origin": "https://evil.example"}
    _assert_clear(server.request("POST", "/api/kernels", data=b'{"name": "python3"}', headers=headers), {403})


def test_an_over_long_body_is_413_before_it_is_read(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(
            b"POST /api/kernels HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Authorization: token " + server.token.encode() + b"\r\nContent-Length: 10000000000\r\n\r\n"
        )
        head = raw.recv(65536)
    assert head.split(b"\r\n")[0].split()[1] in {b"413", b"400"}, head


def test_a_body_of_ten_megabytes_is_413(server: Server) -> None:
    answer = server.request("POST", "/api/kernels", data=b" " * 10_000_000, headers={"Content-Type": "application/json"})
    _assert_clear(answer, {413})


def test_a_chunked_body_has_the_same_bound(server: Server) -> None:
    memory = server.rss()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(
            b"POST /api/kernels HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Authorization: token " + server.token.encode() + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        answer = b""
        with contextlib.suppress(ConnectionError):  # closed while this side was still sending
            for _ in range(800):
                raw.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
            answer = raw.recv(65536)
    assert not answer or answer.split()[1] in {b"400", b"413"}, answer
    assert server.rss() - memory < 16 << 20


_NO_IDS = ["x", "%2e%2e%2fkernels", str(uuid.UUID(int=0)), "a" * 5000, "%00", "%F0%9F%92%A9", "*", "1 OR 1"]


@pytest.mark.parametrize("kernel_id", _NO_IDS)
def test_an_id_that_no_kernel_has_is_404(server: Server, kernel_id: str) -> None:
    for method, rest in [("GET", ""), ("DELETE", ""), ("POST", "/interrupt"), ("POST", "/restart"), ("GET", "/channels")]:
        _assert_clear(server.request(method, f"/api/kernels/{kernel_id}{rest}"), {400, 404, 414})


def test_an_id_in_upper_case_names_the_same_kernel_or_none(server: Server, kernel: str) -> None:
    answer = server.request("GET", f"/api/kernels/{kernel.upper()}")
    if answer.status_code == 200:
        assert answer.json()["id"] == kernel
    else:
        _assert_clear(answer, {404})


def test_an_upper_case_id_does_not_start_a_twin(server: Server) -> None:
    kernel_id = str(uuid.uuid4())
    first = server.request("POST", "/api/kernels", json=_env(KERNEL_ID=kernel_id))
    assert first.status_code == 201
    again = server.request("POST", "/api/kernels", json=_env(KERNEL_ID=kernel_id.upper()))
    assert again.status_code in {200, 400}
    server.stop_kernel(kernel_id)


_SESSIONS: dict[str, object] = {
    "no path": {"type": "notebook", "kernel": {"name": "python3"}},
    "no type": {"path": "wrong.ipynb", "kernel": {"name": "python3"}},
    "kernel is a text": {"path": "wrong.ipynb", "type": "notebook", "kernel": "python3"},
    "kernel id is unknown": {"path": "wrong.ipynb", "type": "notebook", "kernel": {"id": str(uuid.UUID(int=5, version=4))}},
    "kernelspec is unknown": {"path": "wrong.ipynb", "type": "notebook", "kernel": {"name": "julia"}},
    "path is a number": {"path": 3, "type": "notebook", "kernel": {"name": "python3"}},
    "env is a list": {"path": "wrong.ipynb", "type": "notebook", "kernel": {"name": "python3"}, "env": []},
    "a mistyped field of the kernel": {"path": "wrong.ipynb", "type": "notebook", "kernel": {"nam": "python3"}},
    "a list": [],
}


@pytest.mark.parametrize("case", _SESSIONS)
def test_a_wrong_session_is_refused(server: Server, case: str) -> None:
    before = server.request("GET", "/api/sessions").json()
    _assert_clear(server.request("POST", "/api/sessions", json=_SESSIONS[case]), {400, 404})
    assert server.request("GET", "/api/sessions").json() == before


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /api HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET /api HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /api/kernels HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
    ids=["garbage", "negative length", "20,000 headers", "long path", "two lengths", "TLS"],
)
def test_what_is_no_http_is_closed_and_hurts_nobody(server: Server, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        try:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536)
        except OSError:  # closed while this side was still sending
            answer = b""
    assert not answer or answer.split()[1].startswith(b"4"), answer[:200]


def test_a_half_closed_connection_gets_its_answer(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    # Answered, or closed without an answer: never left open.
    assert not answer or b" 200 " in answer.split(b"\r\n")[0]


def test_an_error_never_repeats_a_value_that_the_client_sent(server: Server) -> None:
    answer = server.request("POST", "/api/kernels", json=_env(KERNEL_PASSWORD="hunter2\n"))
    _assert_clear(answer, {400})
    assert "KERNEL_PASSWORD" in answer.text
    assert "hunter2" not in json.dumps(answer.json())
    assert "hunter2" not in server.log
