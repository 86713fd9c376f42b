import asyncio
import socket

import pytest
import zmq

from enterprise_gateway.provisioners import port_probe
from enterprise_gateway.provisioners.port_probe import PortProbe, greets


@pytest.fixture
def bound():
    """A socket on whose port nobody listens until the test does."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken


@pytest.fixture
def refused(monkeypatch):
    """Told of each attempt that was refused; the next one comes at once."""
    told = asyncio.Event()
    monkeypatch.setattr(port_probe, "_FIRST_SECONDS", 0.0)
    monkeypatch.setattr(port_probe, "_pause", lambda _waited: told.set() or 0.0)
    return told


def test_it_is_answered_as_soon_as_somebody_listens(bound, refused):
    async def scenario():
        probe = PortProbe(*bound.getsockname())
        await refused.wait()
        assert not probe.answered.done()
        bound.listen()
        await asyncio.wait_for(probe.answered, 10)
        probe.close()

    asyncio.run(scenario())


def test_a_network_that_swallows_every_packet_is_asked_anew(monkeypatch, refused):
    async def scenario():
        monkeypatch.setattr(port_probe, "_ANSWER_SECONDS", 0.02)
        with socket.socket() as full:
            # A backlog that is full: the operating system drops what else wants to connect.
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            with socket.create_connection(full.getsockname()):
                probe = PortProbe(*full.getsockname())
                attempts = set()
                while len(attempts) < 3:
                    attempts.add(probe._attempt and probe._attempt.getsockname())
                    await asyncio.sleep(0)
                assert not probe.answered.done()
                assert not refused.is_set()
                # There is room now.
                full.accept()[0].close()
                await asyncio.wait_for(probe.answered, 10)
                probe.close()

    asyncio.run(scenario())


def test_closed_it_leaves_no_socket_and_knocks_no_more(bound, refused):
    async def scenario():
        probe = PortProbe(*bound.getsockname())
        await refused.wait()
        probe.close()
        refused.clear()
        for _ in range(20):
            await asyncio.sleep(0)
        assert probe.answered.cancelled()
        assert not refused.is_set()

    # A socket that stays open is a warning, and so an error.
    asyncio.run(scenario())


@pytest.mark.parametrize(("waited", "pause"), [(0.0, 0.05), (2.0, 0.2), (60.0, 0.5)])
def test_who_waits_long_is_asked_rarely(waited, pause):
    assert port_probe._pause(waited) == pytest.approx(pause)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_a_kernel_greets_though_it_reads_nothing(encrypted):
    context = zmq.Context()
    kernel = context.socket(zmq.ROUTER)
    if encrypted:
        kernel.curve_server = True
        kernel.curve_publickey, kernel.curve_secretkey = zmq.curve_keypair()
    port = kernel.bind_to_random_port("tcp://127.0.0.1")
    try:
        assert asyncio.run(greets("127.0.0.1", port))
    finally:
        context.destroy(linger=0)


def test_nobody_greets_where_nobody_listens(bound):
    assert not asyncio.run(greets(*bound.getsockname()))


def test_who_takes_connections_for_others_doesnt_greet_in_their_place(bound, monkeypatch):
    monkeypatch.setattr(port_probe, "_GREETING_SECONDS", 0.02)
    bound.listen()
    assert not asyncio.run(greets(*bound.getsockname()))


def test_who_closes_at_once_doesnt_greet():
    async def scenario():
        async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
            return await greets(*server.sockets[0].getsockname())

    assert not asyncio.run(scenario())
