"""A wall clock that jumps by days, as that of a virtual machine does which was asleep: of the gateway, and of a supervisor."""

from __future__ import annotations

import os
import sys
import time
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest
from tests.support.cells import WAITS_FOR_AN_INTERRUPT
from tests.support.jumping_clock import JumpingClock, faketime_library
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.supervised_kernel import SupervisedKernel, parent_of, type_of
from tests.support.supervised_kernel import text_of as text_of_entries
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.installation import Installation
    from tests.support.servers import Server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

NAME = "python_kubernetes"
# Forth, and back again: certificates that a cluster was given today aren't valid the day before.
JUMPS = (timedelta(days=2), timedelta(0))
LINES = 400
PRINT = f"import time\nfor number in range({LINES}):\n    print(number, flush=True)\n    time.sleep(0.01)"
# Without libfaketime, which gets Python's sleeps wrong: only the supervisor's clock jumps.
KERNEL = ("--", "env", "-u", "LD_PRELOAD", sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}")


@pytest.fixture
def clock(tmp_path: Path) -> JumpingClock:
    library = faketime_library()
    if not library:
        reason = "libfaketime is not installed (Debian: faketime; or LIBFAKETIME=/path/to/libfaketime.so.1)"
        (pytest.fail if os.environ.get("REQUIRE_E2E") == "1" else pytest.skip)(reason)
    return JumpingClock(library, tmp_path / "clock")


def seconds_ahead(server: Server) -> float:
    """Return how far the clock of a gateway is before this process'."""
    answer = server.request("GET", "/api")
    return parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()


def test_a_gateway_whose_clock_jumps_loses_no_line_culls_no_kernel_and_stays_the_leader(
    installation: Installation, clock: JumpingClock
) -> None:
    server = installation.gateway(environment=clock.environment, CULL_IDLE_TIMEOUT="3600", CULL_INTERVAL="1").start(90)
    kernel_id, unused = server.start_kernel(NAME), server.start_kernel(NAME)
    wait_until(lambda: "enterprise_gateway_leader 1.0" in server.request("GET", "/metrics").text, 30)
    with KernelSocket(server, kernel_id) as client:
        sent = client.execute(PRINT)
        heard = list(client.until(lambda message: message.type == "stream" and message.parent == sent.id))
        for jump in JUMPS:
            clock.set(int(jump.total_seconds()))
            wait_until(lambda jump=jump: abs(seconds_ahead(server) - jump.total_seconds()) < 60)
            heard += client.until(lambda message: message.type == "stream" and message.parent == sent.id)
        heard += client.collect(sent, timeout=60)
        assert text_of([message for message in heard if message.parent == sent.id]).split() == list(map(str, range(LINES)))
        assert text_of(client.run("print('on')")) == "on\n"
    # Longer than an interval of the culler.
    time.sleep(2)
    assert server.kernel_ids() == {kernel_id, unused}
    assert "enterprise_gateway_leader 1.0" in server.request("GET", "/metrics").text
    assert "Kernel is culled" not in server.log
    assert "Traceback" not in server.log
    server.stop()


def test_a_supervisor_whose_clock_jumps_loses_no_line_and_still_interrupts_and_restarts(
    tmp_path: Path, clock: JumpingClock
) -> None:
    kernel = SupervisedKernel(tmp_path, environment=clock.environment, command=KERNEL)
    try:
        gateway = kernel.gateway()
        asked = gateway.execute(PRINT)
        for jump in JUMPS:
            clock.set(int(jump.total_seconds()))
            seen = len(text_of_entries(gateway.entries, asked))
            gateway.until(lambda _, seen=seen: len(text_of_entries(gateway.entries, asked)) > seen)
        assert gateway.reply_to(asked)["status"] == "ok"
        assert text_of_entries(gateway.entries, asked).split() == list(map(str, range(LINES)))
        asked = gateway.execute(WAITS_FOR_AN_INTERRUPT)
        gateway.until(lambda one: parent_of(one) == asked and type_of(one) == "stream")
        assert gateway.command("interrupt") is None
        assert gateway.reply_to(asked)["ename"] == "KeyboardInterrupt"
        assert gateway.command("restart", life=1) is None
        # It was told of the first life from time to time as well.
        while gateway.phase("running")["life"] == 1:
            pass
        asked = gateway.ready().execute("print('new')")
        assert gateway.reply_to(asked)["status"] == "ok"
    finally:
        kernel.close()
