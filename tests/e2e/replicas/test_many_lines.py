"""Eight clients of four kernels in the middle of cells of 400 lines, while what carries the lines ends in every way it can."""

from __future__ import annotations

import socket
import time
from itertools import cycle
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest
import websocket
from tests.support.kernel_socket import PROTOCOLS, KernelSocket, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.messages import Message
    from tests.support.servers import Server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

NAME = "python_kubernetes"
LINES = 400
PRINT = f"import time\nfor number in range({LINES}):\n    print(number, flush=True)\n    time.sleep(0.01)"
# Positions are told every 50 ms, which a busy machine is late with.
REPEATED_SECONDS = 0.05
LATE_SECONDS = 0.05
_BROKEN = (websocket.WebSocketException, OSError, AssertionError)


class Reader(Thread):
    """A client that runs a cell and reads to its end, and comes back to the next replica whenever it loses its connection."""

    def __init__(self, servers: Sequence[Server], kernel_id: str, protocol: str) -> None:
        super().__init__(daemon=True)
        self._servers, self._kernel_id, self._protocol = cycle(servers), kernel_id, protocol
        self._client = KernelSocket(next(self._servers), kernel_id, protocol=protocol)
        self.sent = self._client.execute(PRINT)
        self.heard: list[Message] = []
        self.times: list[float] = []
        """When each of them came."""
        self.lost_at: list[float] = []
        """When the last message came before each loss of the connection."""
        self.in_the_middle = Event()

    def drop(self) -> None:
        """Say no more, as a client whose network is gone, and read what is still on its way."""
        self._client.socket.sock.shutdown(socket.SHUT_WR)

    def run(self) -> None:
        while not self._is_over():
            try:
                message = self._client.receive(60)
            except _BROKEN:
                self.lost_at += self.times[-1:]
                self._come_back()
                continue
            self.heard.append(message)
            self.times.append(time.monotonic())
            if not self.in_the_middle.is_set() and "\n100\n" in text_of(self.mine):
                self.in_the_middle.set()
        self._client.close()

    @property
    def mine(self) -> list[Message]:
        return [message for message in self.heard if message.parent == self.sent.id]

    def repeated_seconds(self) -> float:
        """Return how long before its loss the connection brought the first line that came once more afterwards; 0 for none."""
        first: dict[int, float] = {}
        longest = 0.0
        for message, moment in zip(self.heard, self.times, strict=True):
            if message.parent != self.sent.id or message.type != "stream":
                continue
            for number in map(int, message.content["text"].split()):
                if number in first:
                    lost_at = next(lost for lost in self.lost_at if lost >= first[number])
                    longest = max(longest, lost_at - first[number])
                first.setdefault(number, moment)
        return longest

    def _is_over(self) -> bool:
        # The reply comes on another channel than the output, so before its end or after.
        last = self.mine[-4:]
        idle = any(message.content.get("execution_state") == "idle" for message in last)
        return idle and any(message.type == "execute_reply" for message in last)

    def _come_back(self) -> None:
        session = self._client.session
        self._client.close()
        deadline = time.monotonic() + 120
        while True:
            try:
                self._client = KernelSocket(next(self._servers), self._kernel_id, session=session, protocol=self._protocol)
            except _BROKEN:
                assert time.monotonic() < deadline, "not within the time"
                time.sleep(0.05)
            else:
                return


def drop(readers: Sequence[Reader], _: Sequence[Server]) -> None:
    for reader in readers:
        reader.drop()


def roll_out(_: Sequence[Reader], servers: Sequence[Server]) -> None:
    for server in servers:
        server.stop(60)
        server.start(90)


def kill(_: Sequence[Reader], servers: Sequence[Server]) -> None:
    for server in servers:
        server.kill()
    for server in servers:
        server.launch()
    for server in servers:
        server.wait_ready(90)


@pytest.mark.parametrize("happens", [drop, roll_out, kill])
def test_every_line_arrives_and_every_cell_ends(
    replicas: Callable[..., tuple[Server, Server]], happens: Callable[[Sequence[Reader], Sequence[Server]], None]
) -> None:
    servers = replicas()
    kernels = [servers[0].start_kernel(NAME) for _ in range(4)]
    readers = [Reader(servers, kernel_id, protocol) for kernel_id in kernels for protocol in PROTOCOLS]
    for reader in readers:
        reader.start()
    for reader in readers[::2]:
        assert reader.in_the_middle.wait(60)
    happens(readers, servers)
    for reader in readers:
        reader.join(120)
        assert not reader.is_alive()
    for reader in readers:
        lines = list(map(int, text_of(reader.mine).split()))
        assert set(lines) == set(range(LINES))
        if happens is kill:
            assert reader.repeated_seconds() <= REPEATED_SECONDS + LATE_SECONDS
        else:
            assert lines == list(range(LINES))
        assert [message.content["status"] for message in reader.mine if message.type == "execute_reply"] == ["ok"]


def test_a_page_that_is_loaded_again_finds_every_line_with_the_execution(replicas: Callable[..., tuple[Server, Server]]) -> None:
    one, other = replicas()
    kernel_id = one.start_kernel(NAME)
    with KernelSocket(one, kernel_id) as page:
        sent = page.execute(PRINT)
        page.wait_for(lambda message: message.type == "stream" and "50" in message.content["text"])
    time.sleep(3)
    # A page that is loaded again is another session.
    with KernelSocket(other, kernel_id) as page:
        page.run("pass", timeout=60)
        found = other.request("GET", f"/api/kernels/{kernel_id}/executions/{sent.id}").json()
    assert (found["state"], found["truncated"]) == ("ok", False)
    assert "".join(output["text"] for output in found["outputs"]).split() == [str(number) for number in range(LINES)]
