"""A gateway whose event loop is busy: who asks whether it lives, and what it says of its delay."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
import requests
from tests.support.servers import Product, Server, Workspace, free_port
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What an administrator's own class may do, as may any other code in the loop: not return until a file is there.
_BLOCKING = """
import os, time

class Authorizer:
    def is_authorized(self, handler, user, action, resource):
        gate = os.environ["EVENT_LOOP_GATE"]
        open(gate + ".blocked", "w").close()
        while not os.path.exists(gate):
            time.sleep(0.02)
        return True
"""
_STALL_SECONDS = 5


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


@pytest.fixture
def health(server_that_blocks: Server) -> str:
    return f"http://127.0.0.1:{server_that_blocks.settings['HEALTH_PORT']}{server_that_blocks.base_url}livez"


@pytest.fixture
def server_that_blocks(product: Product, workspace: Workspace, tmp_path: Path, gate: Path) -> Iterator[Server]:
    """A gateway whose loop stands still from the first request with a token until the gate is there."""
    if product is not Product.GATEWAY:
        pytest.skip("a promise of our gateway only")
    (tmp_path / "blocking.py").write_text(_BLOCKING)
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    server = Server(
        product=product,
        workspace=workspace,
        base_url="/base/",
        settings={
            "HEALTH_PORT": str(free_port()),
            "STALL_LIMIT": str(_STALL_SECONDS),
            "AUTHORIZER_CLASS": "blocking.Authorizer",
        },
        environment={"EVENT_LOOP_GATE": str(gate), "PYTHONPATH": os.pathsep.join(paths)},
    ).start()
    yield server
    gate.touch()
    server.stop()


def test_a_busy_gateway_lives_one_that_is_stuck_does_not_and_the_delay_is_shown_afterwards(
    server_that_blocks: Server, health: str, gate: Path
) -> None:
    assert requests.get(health, timeout=5).json() == {"status": "alive", "problems": []}
    blocked = threading.Thread(target=server_that_blocks.request, args=("GET", "/api"))
    blocked.start()
    wait_until(gate.with_name("gate.blocked").exists)

    with pytest.raises(requests.ReadTimeout):
        server_that_blocks.request("GET", "/livez", timeout=0.5)
    # Not within its limit yet, and answered all the same.
    assert requests.get(health, timeout=5).status_code == 200
    wait_until(lambda: requests.get(health, timeout=5).status_code == 503, timeout=_STALL_SECONDS + 10)
    assert "hasn't turned" in requests.get(health, timeout=5).json()["problems"][0]

    gate.touch()
    blocked.join()
    wait_until(lambda: requests.get(health, timeout=5).status_code == 200)
    shown = server_that_blocks.request("GET", "/metrics").text
    (lag,) = [line for line in shown.splitlines() if line.startswith("enterprise_gateway_event_loop_lag_seconds ")]
    assert float(lag.split()[1]) >= _STALL_SECONDS
