import socket
from types import SimpleNamespace

import pytest
import requests

from enterprise_gateway.health_server import HealthServer
from enterprise_gateway.server import PortUnavailableError


@pytest.fixture
def monitor():
    return SimpleNamespace(stalled_seconds=0.0)


@pytest.fixture
def make(monitor):
    made = []

    def function(port=0):
        server = HealthServer(address="127.0.0.1", port=port, path="/base/livez", monitor=monitor, stall_limit=60)
        made.append(server)
        server.start()
        return server

    yield function
    for server in made:
        server.stop()


def ask(server, path="/base/livez", method="GET"):
    return requests.request(method, f"http://127.0.0.1:{server.port}{path}", timeout=10)


def test_a_busy_loop_lives_and_one_that_stands_still_beyond_the_limit_does_not(make, monitor):
    server = make()
    for seconds, status in ((0.0, 200), (60.0, 200), (60.1, 503), (0.0, 200)):
        monitor.stalled_seconds = seconds
        assert ask(server).status_code == status
    assert ask(server).json() == {"status": "alive", "problems": []}
    monitor.stalled_seconds = 75.0
    assert ask(server).json() == {"status": "stalled", "problems": ["the event loop hasn't turned for 75 s"]}


def test_it_is_answered_although_the_event_loop_of_the_gateway_is_blocked(make):
    # No loop runs in this thread at all.
    assert ask(make()).ok


def test_nothing_else_is_served_there(make):
    server = make()
    assert ask(server, "/base/api/kernels").status_code == 404
    assert ask(server, "/livez").status_code == 404
    assert ask(server, method="POST").status_code == 405
    assert ask(server, method="HEAD").status_code == 200


def test_who_connects_and_says_nothing_keeps_nobody_from_an_answer(make):
    server = make()
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
    assert ask(server).ok
    for connection in silent:
        connection.close()


# tornado leaves a socket that it can't bind to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
def test_a_port_that_is_taken_is_named_with_its_setting(make):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortUnavailableError, match="health_port"):
        make(taken.getsockname()[1])


def test_after_its_end_nobody_listens(make):
    server = make()
    assert ask(server).ok
    server.stop()
    with pytest.raises(requests.ConnectionError):
        ask(server)
