"""`jupyter enterprisegateway outputs`, against a server that answers what it is told to."""

import http.server
import json
import threading

import pytest

from enterprise_gateway.app import main
from enterprise_gateway.outputs_command import outputs


class Answering(http.server.ThreadingHTTPServer):
    """Answers every request alike, and keeps what was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = []
        self.answer = (200, {}, b"{}")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        status, headers, body = self.server.answer
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server():
    with Answering() as one:
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def run(server, *arguments, **environment):
    return outputs([*arguments], {"JUPYTER_GATEWAY_URL": server.url, **environment})


def test_the_token_is_in_a_header_and_never_in_the_address(server, tmp_path, capfdbinary):
    file = tmp_path / "token"
    file.write_text("of-file\n")
    assert run(server, "id", "--token", "of-option", JUPYTER_GATEWAY_AUTH_TOKEN="of-environment") == 0
    assert run(server, "id", "--token-file", str(file), "--token", "of-option") == 0
    assert run(server, "id", JUPYTER_GATEWAY_AUTH_TOKEN="of-environment", EG_AUTH_TOKEN="of-gateway") == 0
    assert run(server, "id", EG_AUTH_TOKEN="of-gateway") == 0
    assert run(server, "id") == 0
    sent = [headers.get("Authorization") for _, headers in server.asked]
    assert sent == ["token of-option", "token of-file", "token of-environment", "token of-gateway", None]
    assert {path for path, _ in server.asked} == {"/api/kernels/id/executions"}
    assert capfdbinary.readouterr().out == b"{}" * 5


def test_ids_are_parts_of_the_path_whatever_they_hold(server):
    assert run(server, "a/b?c", "--execution", "../d", "--url", server.url + "/base/") == 0
    ((path, headers),) = server.asked
    assert path == "/base/api/kernels/a%2Fb%3Fc/executions/..%2Fd"
    assert headers["Accept"] == "application/x-ipynb+json"


def test_a_redirect_is_not_followed_so_the_token_goes_nowhere_else(server, capsys):
    server.answer = (302, {"Location": server.url + "/elsewhere"}, b"")
    assert run(server, "id", EG_AUTH_TOKEN="secret") == 1
    assert len(server.asked) == 1
    said = capsys.readouterr().err
    assert "answered 302" in said
    assert "secret" not in said


def test_the_gateways_words_are_told(server, capsys):
    server.answer = (404, {}, json.dumps({"reason": "Not Found", "message": "Kernel does not exist: id"}).encode())
    assert run(server, "id") == 1
    assert capsys.readouterr().err.endswith("answered 404: Kernel does not exist: id\n")


def test_it_is_a_command_of_the_program(server, tmp_path):
    target = tmp_path / "missed.ipynb"
    with pytest.raises(SystemExit) as ended:
        main(["outputs", "id", "--url", server.url, "--output", str(target)])
    assert ended.value.code == 0
    assert target.read_bytes() == b"{}"
