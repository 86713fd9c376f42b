"""JupyterLab 4's own client library, `@jupyterlab/services`, in Node: what a browser does, without the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support.jupyterlab import walk

if TYPE_CHECKING:
    from tests.support.servers import Server


@pytest.fixture(scope="module")
def seen(server: Server) -> dict[str, Any]:
    """What the client saw on its walk through one kernel's life."""
    return walk(server, "python3")


def test_the_kernelspecs_are_read(seen: dict[str, Any]) -> None:
    assert seen["default"] == "python3"
    assert {"python3", "with-env"} <= set(seen["specs"])


def test_a_cell_runs(seen: dict[str, Any]) -> None:
    assert seen["banner"] == "ipython"
    assert seen["cell"]["text"] == "Ω\n"
    assert seen["cell"]["types"] == ["status", "execute_input", "stream", "execute_result", "status"]


def test_input_is_asked_and_answered(seen: dict[str, Any]) -> None:
    assert seen["input"] == "Ada\n"


def test_a_running_cell_is_interrupted(seen: dict[str, Any]) -> None:
    assert seen["interrupted"] == "KeyboardInterrupt"


def test_buffers_come_back_byte_for_byte(seen: dict[str, Any]) -> None:
    assert seen["echoed"] == [[255, 254, 1, 0]]


def test_a_restart_loses_the_state(seen: dict[str, Any]) -> None:
    assert seen["afterRestart"] == "False\n"
    # This status makes JupyterLab say that the kernel has died.
    assert "autorestarting" not in seen["restartStatuses"]
    assert seen["unanswered"] == []


def test_a_dead_kernel_is_announced_and_comes_back(seen: dict[str, Any]) -> None:
    assert (seen["died"], seen["afterDeath"]) == ("autorestarting", "1\n")


def test_a_lost_connection_is_opened_again_and_works(seen: dict[str, Any]) -> None:
    assert (seen["dropped"], seen["afterDrop"]) == ("reconnected", "2\n")


def test_a_shutdown_ends_the_kernel(seen: dict[str, Any], server: Server) -> None:
    assert seen["id"] not in seen["running"]
    assert seen["id"] not in server.kernel_ids()
