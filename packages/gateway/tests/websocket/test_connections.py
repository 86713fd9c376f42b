import asyncio

import pytest

from enterprise_gateway.errors import Unavailable
from enterprise_gateway.websocket.connections import OpenConnections


class Fake:
    def __init__(self, connections, key, *, answers=True):
        self.connections, self.key, self.answers, self.closed = connections, key, answers, None

    def close(self, code, reason):
        self.closed = (code, reason)
        if self.answers:
            asyncio.get_running_loop().call_soon(self.connections.remove, self.key, self)


def test_a_second_connection_of_a_session_replaces_the_first():
    connections = OpenConnections()
    first, second = Fake(connections, ("k", "s")), Fake(connections, ("k", "s"))
    assert connections.add(("k", "s"), first) is None
    assert connections.add(("k", "s"), second) is first
    connections.remove(("k", "s"), first)
    assert len(connections) == 1


def test_one_connection_too_many_is_refused_unless_it_replaces_another():
    connections = OpenConnections(limit=1)
    connections.admit(("k", "s"))
    connections.add(("k", "s"), Fake(connections, ("k", "s")))
    connections.admit(("k", "s"))
    with pytest.raises(Unavailable):
        connections.admit(("k", "t"))


def test_a_connection_that_the_process_has_no_room_for_is_refused_unless_it_replaces_another():
    def full():
        raise Unavailable("full")

    connections = OpenConnections(check_room=full)
    connections.add(("k", "s"), Fake(connections, ("k", "s")))
    connections.admit(("k", "s"))
    with pytest.raises(Unavailable, match="full"):
        connections.admit(("k", "t"))


def test_a_drain_closes_everything_with_1012_and_waits_until_it_is_gone():
    async def scenario():
        connections = OpenConnections()
        fakes = [Fake(connections, ("k", str(number))) for number in range(3)]
        for fake in fakes:
            connections.add(fake.key, fake)
        await connections.close_all()
        assert len(connections) == 0
        assert {fake.closed[0] for fake in fakes} == {1012}

    asyncio.run(scenario())


def test_a_client_that_does_not_answer_holds_up_a_drain_only_for_so_long():
    async def scenario():
        connections = OpenConnections()
        connections.add(("k", "s"), Fake(connections, ("k", "s"), answers=False))
        await connections.close_all(timeout=0.01)
        return len(connections)

    # It came back although the client is still there.
    assert asyncio.run(scenario()) == 1
