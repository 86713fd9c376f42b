import asyncio

import pytest
import zmq

from enterprise_gateway.links import channel_socket
from enterprise_gateway.links.channel_socket import ChannelSocket


@pytest.fixture
def pair():
    with zmq.Context() as context:
        there, here = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
        here.sndhwm = there.rcvhwm = 2
        port = there.bind_to_random_port("tcp://127.0.0.1")
        here.connect(f"tcp://127.0.0.1:{port}")
        yield there, here
        there.close(linger=0)
        here.close(linger=0)


class Received:
    def __init__(self):
        self.messages = []
        self.changed = asyncio.Event()

    def __call__(self, frames):
        self.messages.append(frames)
        self.changed.set()

    async def wait_for(self, count):
        async with asyncio.timeout(10):
            while len(self.messages) < count:
                self.changed.clear()
                await self.changed.wait()


async def _send(socket, frames):
    async with asyncio.timeout(10):
        while True:
            try:
                return socket.send_multipart(frames, zmq.NOBLOCK)
            except zmq.Again:
                await asyncio.sleep(0)


def test_every_message_arrives_in_order_while_others_are_written(pair):
    there, here = pair

    async def scenario():
        received = Received()
        socket = ChannelSocket(socket=here, received=received)
        for number in range(500):
            await _send(there, [b"%d" % number])
            if number % 3 == 0:
                socket.send([b"back"])
                await asyncio.sleep(0)
            while there.poll(0):
                there.recv_multipart()
        await received.wait_for(500)
        socket.close()
        socket.close()
        assert received.messages == [[b"%d" % number] for number in range(500)]

    asyncio.run(scenario())


def test_nothing_is_read_while_it_is_not_wanted_and_nothing_is_lost(pair):
    there, here = pair

    async def scenario():
        received = Received()
        socket = ChannelSocket(socket=here, received=received)
        await _send(there, [b"1"])
        await received.wait_for(1)
        socket.read(False)
        await _send(there, [b"2"])
        while not here.poll(0):
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(received.messages) == 1
        socket.read(True)
        await received.wait_for(2)
        socket.close()

    asyncio.run(scenario())


def test_what_the_other_end_does_not_read_is_counted_and_sent_when_it_does(pair):
    there, here = pair

    async def scenario():
        socket = ChannelSocket(socket=here, received=lambda _: None)
        sent = 0
        while not socket.backlog:
            socket.send([b"x" * 1_000_000])
            sent += 1
            await asyncio.sleep(0)
        assert socket.backlog == 1_000_000
        got = 0
        async with asyncio.timeout(10):
            while got < sent:
                while there.poll(0):
                    there.recv_multipart()
                    got += 1
                await asyncio.sleep(0)
        assert socket.backlog == 0
        socket.close()

    asyncio.run(scenario())


def test_draining_hands_over_what_has_arrived_even_while_not_reading(pair):
    there, here = pair

    async def scenario():
        received = Received()
        socket = ChannelSocket(socket=here, received=received)
        socket.read(False)
        await _send(there, [b"last words"])
        while not here.poll(0):
            await asyncio.sleep(0)
        socket.drain()
        socket.close()
        assert received.messages == [[b"last words"]]

    asyncio.run(scenario())


def test_draining_ends_though_the_other_end_never_stops_to_send(pair, monkeypatch):
    there, here = pair
    monkeypatch.setattr(channel_socket, "_DRAIN_SECONDS", 0.0)
    messages = []

    def received(frames):
        messages.append(frames)
        assert len(messages) < 1000, "it doesn't end"
        there.send_multipart([b"more"])
        assert here.poll(10_000)

    async def scenario():
        socket = ChannelSocket(socket=here, received=received)
        socket.read(False)
        await _send(there, [b"first"])
        assert here.poll(10_000)
        socket.drain()
        socket.close()
        assert messages[0] == [b"first"]

    asyncio.run(scenario())
