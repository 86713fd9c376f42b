import array
import asyncio
import fcntl
import socket
import termios
from collections.abc import Iterator

import pytest
from tornado.iostream import IOStream

from enterprise_gateway.websocket.delivery import Delivery, InFlight
from enterprise_gateway_common.message_log import Position


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


def test_a_session_goes_on_at_the_first_message_that_was_not_received_whole():
    in_flight = InFlight()
    for number in range(4):
        in_flight.add(Position(number, number * 10), (number + 1) * 100)
    assert in_flight.first_undelivered(250) == (2, 20)
    assert len(in_flight) == 2
    assert in_flight.first_undelivered(400) is None


def test_a_message_that_could_not_be_written_is_never_received():
    in_flight = InFlight()
    in_flight.add(Position(7, 70), None)
    assert in_flight.first_undelivered(10**15) == (7, 70)
