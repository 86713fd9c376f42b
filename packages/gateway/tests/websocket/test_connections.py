import asyncio

import pytest

from enterprise_gateway.errors import Unavailable
from enterprise_gateway.websocket.connections import OpenConnections


class Room:
    def __init__(self, *, full=False):
        self.full, self.open = full, 0

    def check(self):
        if self.full:
            raise Unavailable("full")

    def websocket_opened(self):
        self.open += 1

    def websocket_closed(self):
        self.open -= 1


class Fake:
    def __init__(self, connections, key, *, answers=True):
        self.connections, self.key, self.answers, self.closed = connections, key, answers, None

    def close(self, code, reason):
        self.closed = (code, reason)
        if self.answers:
            asyncio.get_running_loop().call_soon(self.connections.remove, self.key, self)


def test_a_second_connection_of_a_session_replaces_the_first():
    connections = OpenConnections(limit=0, room=Room())
    first, second = Fake(connections, ("k", "s")), Fake(connections, ("k", "s"))
    assert connections.add(("k", "s"), first) is None
    assert connections.add(("k", "s"), second) is first
    connections.remove(("k", "s"), first)
    assert len(connections) == 1


def test_each_connection_takes_room_once_and_gives_it_back():
    room = Room()
    connections = OpenConnections(limit=0, room=room)
    first, second = Fake(connections, ("k", "s")), Fake(connections, ("k", "s"))
    for connection in (first, second):
        connections.add(("k", "s"), connection)
        assert room.open == 1
    for connection, left in ((first, 1), (second, 0), (second, 0)):
        connections.remove(("k", "s"), connection)
        assert room.open == left


def test_one_connection_too_many_is_refused_unless_it_replaces_another():
    connections = OpenConnections(limit=1, room=Room())
    connections.admit(("k", "s"))
    connections.add(("k", "s"), Fake(connections, ("k", "s")))
    connections.admit(("k", "s"))
    with pytest.raises(Unavailable):
        connections.admit(("k", "t"))


def test_a_connection_that_the_process_has_no_room_for_is_refused_unless_it_replaces_another():
    connections = OpenConnections(limit=0, room=Room(full=True))
    connections.add(("k", "s"), Fake(connections, ("k", "s")))
    connections.admit(("k", "s"))
    with pytest.raises(Unavailable, match="full"):
        connections.admit(("k", "t"))


def test_a_drain_closes_everything_with_1012_and_waits_until_it_is_gone():
    async def scenario():
        connections = OpenConnections(limit=0, room=Room())
        fakes = [Fake(connections, ("k", str(number))) for number in range(3)]
        for fake in fakes:
            connections.add(fake.key, fake)
        await connections.close_all()
        assert len(connections) == 0
        assert {fake.closed[0] for fake in fakes} == {1012}

    asyncio.run(scenario())


def test_a_client_that_does_not_answer_holds_up_a_drain_only_for_so_long():
    async def scenario():
        connections = OpenConnections(limit=0, room=Room())
        connections.add(("k", "s"), Fake(connections, ("k", "s"), answers=False))
        await connections.close_all(timeout=0.01)
        return len(connections)

    # It came back although the client is still there.
    assert asyncio.run(scenario()) == 1


def test_connections_to_kernels_at_rest_are_closed_at_once_and_others_when_their_cell_ends():
    async def scenario():
        connections, busy = OpenConnections(limit=0, room=Room()), {"working"}
        resting, working = (Fake(connections, (kernel_id, "s")) for kernel_id in ("resting", "working"))
        for one in (resting, working):
            connections.add(one.key, one)
        closing = asyncio.create_task(connections.close_idle(busy.__contains__, within=60))
        while not resting.closed:
            await asyncio.sleep(0)
        assert resting.closed[0] == 1012
        assert not working.closed
        busy.clear()
        await closing
        assert working.closed[0] == 1012

    asyncio.run(scenario())


def test_a_cell_that_takes_too_long_is_not_waited_for():
    async def scenario():
        connections = OpenConnections(limit=0, room=Room())
        working = Fake(connections, ("working", "s"))
        connections.add(working.key, working)
        async with asyncio.timeout(10):
            await connections.close_idle(lambda _: True, within=0.01)
        assert not working.closed

    asyncio.run(scenario())
