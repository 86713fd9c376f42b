import pytest

from enterprise_gateway.errors import Forbidden
from enterprise_gateway.kernelspecs.authorization import UserLists, check_may_start, may_start


def lists(authorized=(), unauthorized=("root",)):
    return UserLists(authorized=frozenset(authorized), unauthorized=frozenset(unauthorized))


def metadata(**config):
    return {"process_proxy": {"class_name": "x.LocalProcessProxy", "config": config}}


def test_empty_lists_allow_everybody():
    assert may_start("alice", {}, lists(unauthorized=()))


def test_an_unauthorized_user_is_refused_although_authorized():
    assert not may_start("root", {}, lists(authorized={"root"}))


def test_only_authorized_users_may_start_where_there_is_a_list():
    assert may_start("alice", {}, lists(authorized={"alice"}))
    assert not may_start("bob", {}, lists(authorized={"alice"}))


def test_a_kernelspecs_list_takes_the_place_of_the_administrators():
    assert may_start("bob", metadata(authorized_users=["bob"]), lists(authorized={"alice"}))
    assert not may_start("alice", metadata(authorized_users="bob"), lists(authorized={"alice"}))


def test_a_kernelspecs_unauthorized_users_are_added():
    assert not may_start("bob", metadata(unauthorized_users="bob, eve"), lists())
    assert not may_start("eve", metadata(unauthorized_users="bob, eve"), lists())
    assert not may_start("root", metadata(unauthorized_users="bob, eve"), lists())


def test_names_are_compared_whole_and_with_their_case():
    assert not may_start("ali", metadata(authorized_users="alice"), lists())
    assert not may_start("Alice", metadata(authorized_users="alice"), lists())


def test_a_provisioners_config_counts_like_a_process_proxys():
    spec = {"kernel_provisioner": {"provisioner_name": "kubernetes", "config": {"authorized_users": ["bob"]}}}
    assert not may_start("alice", spec, lists())


def test_the_refusal_names_the_user_and_the_kernelspec():
    with pytest.raises(Forbidden, match="User 'root' is not authorized to start kernel 'python3'"):
        check_may_start("root", "python3", {}, lists())
