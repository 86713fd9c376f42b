import base64
import contextlib
import hashlib
import http.client
import json
import logging
import socket
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

HTML = {"Accept": "text/html,*/*"}
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "chat",
}


def ask(kernel, port, path="", method="GET", **arguments):
    return kernel.gateway.request(method, f"/{kernel.path}/{port}/{path}", **{"allow_redirects": False, **arguments})


def opened(kernel, port, path="", **arguments):
    """Return the address of a page, as a browser gets it."""
    found = ask(kernel, port, path, headers=HTML, **arguments)
    assert found.status_code == 303, found.text
    return found.headers["Location"]


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("alice:one\nbob:two\n")
    return {"auth_tokens_file": str(path)}


def token(word):
    return {"Authorization": f"token {word}"}


# ------------------------------------------------------------------------------------------------------------ what passes


def test_a_request_and_its_answer_pass(kernel_with, port):
    served = port(b'HTTP/1.1 201 Fine\r\nContent-Type: text/x\r\nETag: "a"\r\nContent-Length: 2\r\n\r\nhi')
    kernel = kernel_with(served.number)
    found = ask(kernel, served.number, "a?b=1", "POST", data=b"body", headers={"Content-Type": "text/y"})
    assert (found.status_code, found.content, found.headers["Content-Type"], found.headers["ETag"]) == (
        201,
        b"hi",
        "text/x",
        '"a"',
    )
    (asked,) = served.asked
    assert (asked.line, asked.body, asked.headers["content-type"]) == ("POST /a?b=1 HTTP/1.1", b"body", "text/y")
    assert asked.headers["x-forwarded-context"] == f"/{kernel.path}/{served.number}"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_every_method_passes_without_a_body_too(kernel_with, port, method):
    served = port()
    assert ask(kernel_with(served.number), served.number, method=method).text == "hello"
    assert served.asked[0].line == f"{method} / HTTP/1.1"


def test_a_question_for_headers_gets_no_body(kernel_with, port):
    served = port(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    found = ask(kernel_with(served.number), served.number, method="HEAD")
    assert (found.status_code, found.headers["Content-Length"], found.content) == (200, "5", b"")


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_has_none(kernel_with, port, status):
    served = port(b"HTTP/1.1 %d X\r\n\r\n" % status)
    found = ask(kernel_with(served.number), served.number)
    assert (found.status_code, found.content) == (status, b"")


def test_the_path_passes_as_it_was_written(kernel_with, port):
    served = port()
    kernel = kernel_with(served.number)
    written = "/a/../%2e%2e/%2F%252f//b;c@evil:80?d=%20&%74oken=x&e"
    connection = http.client.HTTPConnection(*kernel.gateway.address)
    connection.request("POST", f"/{kernel.path}/{served.number}{written}")
    assert connection.getresponse().read() == b"hello"
    connection.close()
    assert served.asked[0].line == "POST /a/../%2e%2e/%2F%252f//b;c@evil:80?d=%20&e HTTP/1.1"


def test_neither_tokens_nor_cookies_pass(kernel_with, port, users):
    served = port(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n\r\n")
    kernel = kernel_with(served.number, **users)
    found = ask(kernel, served.number, headers={**token("one"), "Cookie": "session=canary", "X-Forwarded-Access-Token": "canary"})
    assert found.status_code == 200
    assert not {"Set-Cookie", "Access-Control-Allow-Origin"} & set(found.headers)
    assert "canary" not in str(vars(served.asked[0]))
    assert "one" not in served.asked[0].headers.values()


def test_an_answer_arrives_while_it_is_made(kernel_with, port):
    go_on = threading.Event()

    def answer(connection, _headers):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        assert go_on.wait(30)
        connection.sendall(b"3\r\ntwo\r\n0\r\n\r\n")

    served = port(answer)
    found = ask(kernel_with(served.number), served.number, stream=True)
    pieces = found.iter_content(None)
    assert next(pieces) == b"one"
    go_on.set()
    assert list(pieces) == [b"two"]


def test_a_client_that_reads_slowly_slows_the_kernel(kernel_with, port):
    blocked, sent = threading.Event(), []

    def answer(connection, _headers):
        connection.settimeout(0.5)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            for _ in range(4096):
                connection.sendall(bytes(65536))
                sent.append(65536)
        except TimeoutError:
            blocked.set()

    served = port(answer)
    found = ask(kernel_with(served.number), served.number, stream=True)
    assert blocked.wait(30)
    assert sum(sent) < 64 * 1024 * 1024
    found.close()


def test_a_client_that_leaves_is_told_to_the_kernel(kernel_with, port):
    left = threading.Event()

    def answer(connection, _headers):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nx")
        connection.settimeout(30)
        if connection.recv(1) == b"":
            left.set()

    served = port(answer)
    found = ask(kernel_with(served.number), served.number, stream=True)
    assert next(found.iter_content(1)) == b"x"
    found.close()
    assert left.wait(30)


def test_the_roots_missing_slash_is_added_without_the_token(kernel_with, port):
    kernel = kernel_with(4040)
    found = kernel.gateway.request("POST", f"/{kernel.path}/4040?token=x&a=1", allow_redirects=False)
    assert (found.status_code, found.headers["Location"]) == (307, f"/{kernel.path}/4040/?a=1")


def test_a_redirect_within_the_port_is_shown_under_its_path(kernel_with, port):
    served = port(b"HTTP/1.1 302 Found\r\nLocation: /jobs/\r\nContent-Length: 0\r\n\r\n")
    kernel = kernel_with(served.number)
    assert ask(kernel, served.number).headers["Location"] == f"/{kernel.path}/{served.number}/jobs/"


# --------------------------------------------------------------------------------------------------------------- browsers


def test_a_browser_goes_on_without_its_token(kernel_with, port, users):
    served = port()
    kernel = kernel_with(served.number, **users)
    for headers in ({}, HTML):
        found = ask(kernel, served.number, "jobs/?token=one&a=1", headers=headers)
        assert (found.status_code, "one" in found.headers["Location"], found.headers["Cache-Control"]) == (303, False, "no-store")
    page = found.headers["Location"]
    assert page.endswith("/jobs/?a=1")
    shown = kernel.gateway.request("GET", page)
    assert (shown.text, shown.headers["Referrer-Policy"]) == ("hello", "no-referrer")
    assert shown.headers["Content-Security-Policy"].startswith("sandbox ")
    assert served.asked[0].line == "GET /jobs/?a=1 HTTP/1.1"
    assert served.asked[0].headers["x-forwarded-prefix"] + "/jobs/?a=1" == page


def test_a_ticket_opens_nothing_else(kernel_with, port, users):
    one, two = port(), port()
    kernel = kernel_with(one.number, two.number, **users)
    other = kernel_with(one.number, running=kernel.gateway)
    page = opened(kernel, one.number, params={"token": "one"})
    changed = [
        page.replace(f"/{one.number}/", f"/{two.number}/"),
        page.replace(kernel.id, other.id),
        page.replace("/pages/", "/pages/x"),
        page[:-2] + "/",
    ]
    assert [kernel.gateway.request("GET", each).status_code for each in changed] == [401] * 4
    ticket = page.split("/")[-2]
    for path in (f"/api/kernels/{kernel.id}", f"/api/kernels?token={ticket}", f"/{kernel.path}/{one.number}/?token={ticket}"):
        assert kernel.gateway.request("GET", path).status_code == 401


def test_a_users_tickets_end_with_the_users_token(kernel_with, port, users):
    served = port()
    kernel = kernel_with(served.number, **users)
    page = opened(kernel, served.number, params={"token": "one"})
    Path(users["auth_tokens_file"]).write_text("bob:two\n")
    assert kernel.gateway.request("GET", page).status_code == 401


def test_a_ticket_is_in_no_log(kernel_with, port, caplog):
    served = port()
    kernel = kernel_with(served.number)
    page = opened(kernel, served.number)
    with caplog.at_level(logging.DEBUG):
        kernel.gateway.request("GET", page + "secret?q=1")
        kernel.gateway.request("GET", page.replace(str(served.number), "1"))
    paths = [record.path for record in caplog.records if hasattr(record, "path")]
    assert f"/api/kernels/{kernel.id}/pages/{served.number}/…/secret" in paths
    assert page.split("/")[-2] not in str([vars(record) for record in caplog.records if "urllib3" not in record.name])


def test_a_page_of_a_kernel_reads_its_own_port_and_other_pages_dont(kernel_with, port):
    served = port()
    kernel = kernel_with(served.number, allow_origin="*")
    page = opened(kernel, served.number)
    own = kernel.gateway.request("POST", page, headers={"Origin": "null"})
    assert (own.text, own.headers["Access-Control-Allow-Origin"]) == ("hello", "null")
    assert served.asked[0].headers["origin"] == f"http://127.0.0.1:{served.number}"
    others = kernel.gateway.request("GET", page, headers={"Origin": "http://evil.example"})
    assert "Access-Control-Allow-Origin" not in others.headers
    asked = {"Origin": "null", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-requested-with"}
    preflight = kernel.gateway.request("OPTIONS", page, headers=asked)
    assert preflight.headers["Access-Control-Allow-Headers"] == "x-requested-with"
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]


def test_a_page_has_a_stand_in_for_what_it_may_not_use_and_nothing_else_has(kernel_with, port):
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 23\r\n\r\n<!doctype html><p>hello"
    served = port(page)
    kernel = kernel_with(served.number)
    address = opened(kernel, served.number)
    shown = kernel.gateway.request("GET", address, headers={**HTML, "Accept-Encoding": "gzip"})
    assert shown.text.startswith("<!doctype html><script>")
    assert shown.text.endswith("</script><p>hello")
    assert int(shown.headers["Content-Length"]) == len(shown.content)
    assert "accept-encoding" not in served.asked[-1].headers
    # A program's answer is the kernel's own.
    assert ask(kernel, served.number).text == "<!doctype html><p>hello"


def test_a_page_installs_no_service_worker(kernel_with, port, answer):
    served = port()
    kernel = kernel_with(served.number)
    page = opened(kernel, served.number)
    for path in (page, f"/{kernel.path}/{served.number}/"):
        assert answer(kernel.gateway.request("GET", path, headers={"Service-Worker": "script"})).status == 403
    assert served.asked == []


# --------------------------------------------------------------------------------------------------------------- refusals


def test_anothers_kernel_doesnt_exist(kernel_with, port, users, answer):
    served = port()
    kernel = kernel_with(served.number, **users)
    found = answer(ask(kernel, served.number, headers=token("two")))
    assert (found.status, found.message) == (404, f"Kernel does not exist: {kernel.id}")
    assert ask(kernel, served.number).status_code == 401
    assert served.asked == []


@pytest.mark.parametrize("named", ["4041", "04040", "+4040", "4040.", "x", "%34%30%34%31", "%D9%A4%D9%A0%D9%A4%D9%A0"])
def test_a_port_that_isnt_named_is_closed(kernel_with, answer, named):
    found = answer(ask(kernel_with(4040, 6006), named))
    assert found.status == 403
    assert "open are: 4040, 6006. The kernelspec's config names them in proxy_ports" in found.message


def test_a_kernel_of_this_machine_has_no_port_that_is_passed_on(kernel_with, answer):
    assert answer(ask(kernel_with(in_pod=False), 4040)).status == 501


@pytest.mark.parametrize(("state", "address", "status"), [
    ("starting", "127.0.0.1", 503), ("restarting", "127.0.0.1", 503), ("idle", "", 503), ("dead", "127.0.0.1", 502)
])  # fmt: skip
def test_a_kernel_that_doesnt_run_says_so(kernel_with, port, answer, state, address, status):
    served = port()
    found = ask(kernel_with(served.number, state=state, address=address), served.number)
    assert answer(found).status == status
    assert ("Retry-After" in found.headers) == (status == 503)
    assert served.asked == []


def test_a_port_that_nothing_listens_at_says_what_to_do(kernel_with, answer):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        kernel = kernel_with(number)
        found = answer(ask(kernel, number))
    assert found.status == 502
    assert found.message.startswith(f"Nothing listens at port {number} of kernel {kernel.id}. Start in the kernel")


@pytest.mark.parametrize(
    "answered",
    [
        b"",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 40_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n bad header\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
        b"HTTP/1.1 200 OK\r\nContent-Type: a",
    ],
)
def test_what_isnt_http_is_said(kernel_with, port, answer, answered):
    served = port(answered)
    found = answer(ask(kernel_with(served.number), served.number))
    assert (found.status, "doesn't answer as an HTTP server does" in found.message) == (502, True)


def test_a_redirect_to_another_host_is_refused(kernel_with, port, answer):
    served = port(b"HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n")
    found = ask(kernel_with(served.number), served.number)
    assert (answer(found).status, "Location" in found.headers) == (502, False)


def test_an_answer_that_comes_byte_by_byte_is_given_up(kernel_with, port, answer):
    ended = threading.Event()

    def answering(connection, _headers):
        # Whatever comes in between: headers must be there in time.
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not ended.wait(0.05):
            connection.sendall(b"x")

    served = port(answering)
    found = answer(ask(kernel_with(served.number, proxy_timeout=1.0), served.number))
    ended.set()
    assert (found.status, found.message.endswith("didn't answer within 1 s.")) == (504, True)


@pytest.mark.parametrize("length", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
def test_an_answer_that_breaks_off_is_no_whole_one(kernel_with, port, length):
    served = port(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n3\r\nabc\r\n")
    kernel = kernel_with(served.number)
    with pytest.raises(requests.exceptions.RequestException):
        ask(kernel, served.number)


def test_a_body_beyond_the_bound_is_refused(kernel_with, port, answer):
    served = port()
    kernel = kernel_with(served.number, max_body_size=1024)
    assert answer(ask(kernel, served.number, method="POST", data=bytes(1025))).status == 413
    assert answer(ask(kernel, served.number, method="POST", data=iter([bytes(600)] * 2))).status == 413
    assert served.asked == []


def test_a_page_of_another_origin_changes_nothing(kernel_with, port, answer):
    served = port()
    kernel = kernel_with(served.number)
    assert answer(ask(kernel, served.number, method="POST", headers={"Origin": "http://evil.example"})).status == 403
    assert answer(ask(kernel, served.number, headers={**UPGRADE, "Origin": "http://evil.example"})).status == 403
    assert served.asked == []


def test_a_kernel_has_no_more_connections_than_allowed(kernel_with, port, answer):
    go_on = threading.Event()

    def answering(connection, _headers):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nx")
        go_on.wait(30)

    served = port(answering)
    kernel = kernel_with(served.number, proxy_connections=1)
    first = ask(kernel, served.number, stream=True)
    pieces = first.iter_content(1)
    assert next(pieces) == b"x"
    second = ask(kernel, served.number)
    go_on.set()
    assert (answer(second).status, second.headers["Retry-After"]) == (503, "1")
    first.close()


def test_no_port_is_passed_on_where_the_administrator_allows_none(kernel_with, answer):
    assert answer(ask(kernel_with(4040, proxy_connections=0), 4040)).status == 501


# -------------------------------------------------------------------------------------------------------------- websockets


def agreed(headers):
    key = headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    proof = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSet-Cookie: a=b\r\n"
        b"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: " + proof + b"\r\n\r\n"
    )


def echo(connection, headers):
    connection.sendall(agreed(headers) + b"first")
    while piece := connection.recv(65536):
        connection.sendall(piece)


@contextlib.contextmanager
def upgrade(kernel, path, **headers):
    lines = [f"{name}: {value}" for name, value in {"Host": "gateway", **UPGRADE, **headers}.items()]
    with socket.create_connection(kernel.gateway.address, timeout=10) as connection, connection.makefile("rb") as stream:
        connection.sendall("\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode())
        status = int(stream.readline().split()[1])
        head = {}
        while line := stream.readline().decode().strip():
            name, _, value = line.partition(": ")
            head[name.lower()] = value
        yield SimpleNamespace(connection=connection, stream=stream, status=status, headers=head)


def test_a_websocket_passes_both_ways_and_ends_with_either_side(kernel_with, port):
    served = port(echo)
    kernel = kernel_with(served.number)
    page = opened(kernel, served.number)
    for path, origin in ((f"/{kernel.path}/{served.number}/ws?token=x", "http://gateway"), (page + "ws", "null")):
        with upgrade(kernel, path, Origin=origin, Cookie="a=canary", Authorization="token canary") as websocket:
            assert (websocket.status, websocket.headers["sec-websocket-protocol"]) == (101, "chat")
            assert "set-cookie" not in websocket.headers
            sent = bytes(range(256)) * 100
            websocket.connection.sendall(sent)
            assert websocket.stream.read(5 + len(sent)) == b"first" + sent
            websocket.connection.shutdown(socket.SHUT_WR)
            assert websocket.stream.read() == b""
    assert [asked.line for asked in served.asked] == ["GET /ws HTTP/1.1"] * 2
    assert "canary" not in json.dumps([asked.headers for asked in served.asked])
    assert served.asked[0].headers["origin"] == f"http://127.0.0.1:{served.number}"


def test_a_websocket_that_the_kernel_refuses_is_answered_as_it_answers(kernel_with, port):
    served = port(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
    kernel = kernel_with(served.number)
    found = ask(kernel, served.number, headers=UPGRADE)
    assert (found.status_code, found.text) == (403, "no")


def test_what_only_says_that_it_is_a_websocket_is_none(kernel_with, port, answer):
    served = port(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: no\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
    )
    assert answer(ask(kernel_with(served.number), served.number, headers=UPGRADE)).status == 502


def test_a_websocket_ends_with_the_gateway(kernel_with, port):
    served = port(echo)
    kernel = kernel_with(served.number)
    with upgrade(kernel, f"/{kernel.path}/{served.number}/") as websocket:
        assert (websocket.status, websocket.stream.read(5)) == (101, b"first")
        kernel.gateway.call(kernel.gateway._gateway._parts.connections.close_all())
        assert websocket.stream.read() == b""


def test_there_are_no_more_websockets_than_allowed(kernel_with, port, answer):
    served = port(echo)
    kernel = kernel_with(served.number, max_websockets=1)
    with upgrade(kernel, f"/{kernel.path}/{served.number}/") as websocket:
        assert websocket.status == 101
        assert answer(ask(kernel, served.number, headers=UPGRADE)).status == 503
