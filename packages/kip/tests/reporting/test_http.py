import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus

import pytest
import requests

from kernel_image_puller.reporting.http import Page, PageServer


@pytest.fixture
def server() -> Iterator[PageServer]:
    yield from _serving(5.0)


@pytest.fixture
def hasty_server() -> Iterator[PageServer]:
    """A server that leaves a connection little time."""
    yield from _serving(0.5)


def _serving(patience: float) -> Iterator[PageServer]:
    def broken() -> Page:
        raise ZeroDivisionError

    pages = {"/ok": lambda: Page(b"ok\n"), "/no": lambda: Page(b"", status=HTTPStatus.SERVICE_UNAVAILABLE), "/broken": broken}
    made = PageServer(host="127.0.0.1", port=0, pages=pages, patience=patience)
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    made.stop()
    thread.join(5)
    assert not thread.is_alive()
    made.server_close()


def _get(server: PageServer, path: str, method: str = "GET") -> requests.Response:
    return requests.request(method, f"http://127.0.0.1:{server.port}{path}", timeout=5)


def test_pages_have_their_status_and_body(server: PageServer) -> None:
    assert (_get(server, "/ok").status_code, _get(server, "/ok?x=1").text) == (200, "ok\n")
    assert _get(server, "/no").status_code == 503
    assert _get(server, "/nothing").status_code == 404
    assert (_get(server, "/ok", "HEAD").status_code, _get(server, "/ok", "HEAD").text) == (200, "")
    assert _get(server, "/ok", "POST").status_code == 501


def test_a_page_that_breaks_breaks_no_other(server: PageServer, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(requests.ConnectionError):
        _get(server, "/broken")
    assert _get(server, "/ok").text == "ok\n"
    assert "ZeroDivisionError" in caplog.text


def test_clients_that_say_nothing_keep_nobody_from_being_served_and_the_oldest_makes_room(server: PageServer) -> None:
    silent = [_connect(server) for _ in range(8)]
    assert _get(server, "/ok").text == "ok\n"
    assert silent[0].recv(1) == b"", "closed, not served"
    for connection in silent[1:]:
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
    for connection in silent:
        connection.close()


def test_without_a_place_in_time_a_connection_is_closed(server: PageServer) -> None:
    over, making = threading.Event(), threading.Semaphore(0)

    def slow() -> Page:
        making.release()
        over.wait(30)
        return Page(b"late")

    server.pages = {"/slow": slow}
    taken = [_connect(server) for _ in range(8)]
    for connection in taken:
        connection.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
        assert making.acquire(timeout=5)
    extra = _connect(server)
    assert extra.recv(1) == b""
    over.set()
    for connection in [*taken, extra]:
        connection.close()


def _connect(server: PageServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=5)


@pytest.mark.parametrize("request_part", [b"", b"GET /ok HTTP/1.0\r\nX: "], ids=["request line", "headers"])
def test_clients_that_send_a_byte_now_and_then_lose_their_places_in_time(hasty_server: PageServer, request_part: bytes) -> None:
    slow = [_connect(hasty_server) for _ in range(8)]
    for connection in slow:
        connection.sendall(request_part)
        connection.settimeout(0.02)
    left = set(slow)
    for _ in range(100):
        left = {connection for connection in left if _still_open(connection)}
        if not left:
            break
    assert not left
    assert _get(hasty_server, "/ok").text == "ok\n"
    for connection in slow:
        connection.close()


def _still_open(connection: socket.socket) -> bool:
    """Send a byte, and tell whether the other side still wants more."""
    try:
        connection.sendall(b"x")
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False
