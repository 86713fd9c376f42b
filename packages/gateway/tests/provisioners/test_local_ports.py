import contextlib
import socket

import pytest

from enterprise_gateway.errors import Unavailable
from enterprise_gateway.provisioners.local_ports import LocalPorts, ephemeral_range


def everything_is_free(port):
    return port > 0


def ports(text="0..0", *, ephemeral=range(32768, 61000), is_free=everything_is_free):
    return LocalPorts(text, ephemeral=ephemeral, is_free=is_free)


@pytest.mark.parametrize("text", ["", "1", "x..y", "1..2000", "40000..40500", "65000..66001", "50000..40000"])
def test_a_port_range_that_cannot_be_used_is_refused(text):
    with pytest.raises(ValueError, match="port_range: "):
        ports(text)


def test_ports_are_of_the_range_that_is_asked_for():
    assert all(40000 <= port <= 41000 for port in ports("40000..41000").take(500))


def test_ports_of_outgoing_connections_are_left_alone():
    assert not any(32768 <= port < 61000 for port in ports().take(5000))


def test_a_system_that_gives_all_ports_to_outgoing_connections_still_has_some():
    assert len(ports(ephemeral=range(1024, 65536)).take(5)) == 5


def test_no_port_is_given_to_two_kernels_until_it_is_given_back():
    some = ports("40000..41000")
    first, second = some.take(500), some.take(501)
    assert not set(first) & set(second)
    with pytest.raises(Unavailable):
        some.take(1)
    some.give_back(first)
    assert set(some.take(500)) == set(first)


def test_a_port_that_somebody_listens_on_is_not_given():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        lowest = min(taken, 64000)
        some, found = LocalPorts(f"{lowest}..{lowest + 1000}", ephemeral=range(0)), []
        # Others may listen too, on as many as they like: whatever is left is taken.
        with contextlib.suppress(Unavailable):
            while True:
                found += some.take(1)
    assert found
    assert taken not in found


def test_this_system_says_which_ports_outgoing_connections_take():
    assert len(ephemeral_range()) > 1000
