import pytest

from enterprise_gateway.errors import Forbidden
from enterprise_gateway.identity import ANONYMOUS, Identity
from enterprise_gateway.kernels.requests import StartRequest, owner_of


def test_the_owner_is_who_the_request_names():
    assert owner_of("alice", ANONYMOUS, default="gateway") == "alice"


def test_a_kernel_that_nobody_is_named_for_belongs_to_the_default_user():
    assert owner_of(None, ANONYMOUS, default="gateway") == "gateway"


@pytest.mark.parametrize("claimed", [None, "alice"])
def test_the_owner_is_the_user_of_the_token(claimed):
    assert owner_of(claimed, Identity("alice"), default="gateway") == "alice"


def test_a_request_may_not_name_another_user_than_its_token_does():
    with pytest.raises(Forbidden):
        owner_of("bob", Identity("alice"), default="gateway")


@pytest.mark.parametrize(
    ("respond_async", "pending_starts", "wait", "patience"),
    [
        (False, False, 0, None),
        (False, False, 9, None),
        (True, False, 0, 0),
        (True, False, 9, 9),
        (False, True, 0, 0),
        (False, True, 9, 9),
    ],
)
def test_a_client_waits_for_the_kernel_unless_it_or_the_administrator_prefers_an_early_answer(
    respond_async, pending_starts, wait, patience
):
    request = StartRequest(kernel_name=None, respond_async=respond_async, wait=wait)
    assert request.patience(pending_starts=pending_starts) == patience
