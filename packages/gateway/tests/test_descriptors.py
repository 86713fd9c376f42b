import os

import pytest

from enterprise_gateway.descriptors import DescriptorBudget, descriptors_in_use
from enterprise_gateway.errors import Unavailable


def budget(*, kernels=0, websockets=0, in_use=0, limit=1000, for_requests=100, most_sockets=10_000):
    made = DescriptorBudget(
        for_requests=for_requests,
        kernels=lambda: kernels,
        most_sockets=most_sockets,
        limit=lambda: limit,
        in_use=lambda: in_use,
    )
    for _ in range(websockets + 1):
        made.websocket_opened()
    made.websocket_closed()
    return made


def test_there_is_room_until_what_requests_need_would_be_touched():
    budget(in_use=890).check()
    with pytest.raises(Unavailable, match="limit of open files"):
        budget(in_use=891).check()


def test_kernels_and_websockets_that_have_only_been_accepted_count_with_what_they_will_take():
    budget(kernels=89).check()
    with pytest.raises(Unavailable):
        budget(kernels=90).check()
    budget(kernels=80, websockets=45).check()
    with pytest.raises(Unavailable):
        budget(kernels=80, websockets=46).check()


def test_there_is_room_until_the_sockets_of_starts_would_be_touched():
    budget(kernels=42, websockets=500, limit=10_000, most_sockets=200).check()
    with pytest.raises(Unavailable, match="zmq_max_sockets"):
        budget(kernels=43, websockets=500, limit=10_000, most_sockets=200).check()


def test_requests_get_a_quarter_of_a_small_limit():
    assert budget(limit=200).connections == 50
    budget(limit=200, in_use=140).check()


def test_a_descriptor_that_is_opened_is_counted():
    before = descriptors_in_use()
    descriptor = os.open("/", os.O_RDONLY)
    assert descriptors_in_use() == before + 1
    os.close(descriptor)
