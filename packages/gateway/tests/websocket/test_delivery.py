import array
import asyncio
import fcntl
import socket
import termios
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.iostream import IOStream

from enterprise_gateway.websocket.delivery import Delivery, InFlight
from enterprise_gateway.websocket.messages import Gap, KernelMessage


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.connect(server.getsockname())
        accepted, _ = server.accept()
    yield accepted, client
    accepted.close()
    client.close()


def waiting_in(client: socket.socket) -> int:
    number = array.array("i", [0])
    fcntl.ioctl(client, termios.FIONREAD, number)
    return number[0]


def test_what_the_other_end_has_is_told_to_the_byte_even_after_the_stream_is_closed(pair):
    accepted, client = pair

    async def scenario() -> None:
        stream = IOStream(accepted)
        delivery = Delivery(stream=stream)
        for _ in range(100):
            stream.write(b"x" * 100_000).add_done_callback(lambda f: f.exception())
        got = 0
        for _ in range(20):
            await asyncio.sleep(0)
            got += len(client.recv(30_000))
        stream.close()
        assert delivery.written == 10_000_000
        assert delivery.unsent > 0
        # The acknowledgement of the last bytes may be under way.
        async with asyncio.timeout(5):
            while delivery.received() != got + waiting_in(client):
                await asyncio.sleep(0.001)
        delivery.close(abort=True)
        assert delivery.received() == delivery.sent

    asyncio.run(scenario())
    client.settimeout(5)
    with pytest.raises(ConnectionResetError):
        all(client.recv(1 << 20) for _ in range(1000))


def test_a_connection_that_has_nothing_left_is_closed_in_order(pair):
    accepted, client = pair

    async def scenario() -> None:
        stream = IOStream(accepted)
        delivery = Delivery(stream=stream)
        await stream.write(b"bye")
        stream.close()
        delivery.close(abort=False)
        delivery.close(abort=False)

    asyncio.run(scenario())
    client.settimeout(5)
    assert (client.recv(10), client.recv(10)) == (b"bye", b"")


def message(size: int = 10) -> KernelMessage:
    return KernelMessage("iopub", [b"{}", b"p", b"{}", b"x" * (size - 5)])


def test_only_what_was_not_received_whole_is_undelivered():
    kept = InFlight(max_bytes=1000)
    messages = [message() for _ in range(4)]
    for number, one in enumerate(messages, 1):
        kept.add(one, number * 100)
    assert kept.undelivered(250) == messages[2:]
    assert kept.size == 20


def test_a_message_that_could_not_be_written_is_never_received():
    kept = InFlight(max_bytes=1000)
    kept.add(lost := message(), None)
    assert kept.undelivered(10**15) == [lost]


def test_what_is_too_much_to_keep_leaves_a_gap_unless_it_was_received():
    kept = InFlight(max_bytes=25)
    messages = [message() for _ in range(4)]
    for number, one in enumerate(messages, 1):
        kept.add(one, number * 100)
    assert kept.undelivered(100) == [Gap(2, 20, b"p"), *messages[2:]]
    assert kept.undelivered(200) == messages[2:]


def test_one_message_larger_than_the_bound_is_not_kept():
    kept = InFlight(max_bytes=25)
    kept.add(message(26), 100)
    assert (kept.size, kept.undelivered(0)) == (0, [Gap(1, 26, b"p")])


@given(st.lists(st.integers(5, 50), max_size=20), st.integers(0, 1000))
def test_the_bound_holds_and_the_order_stays(sizes, received):
    kept, end, messages = InFlight(max_bytes=100), 0, []
    for size in sizes:
        end += size
        messages.append(message(size))
        kept.add(messages[-1], end)
        assert kept.size <= 100
    left = [item for item in kept.undelivered(received) if isinstance(item, KernelMessage)]
    assert left == messages[len(messages) - len(left) :]
