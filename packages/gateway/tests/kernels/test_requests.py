import pytest

from enterprise_gateway.errors import BadRequest, Forbidden
from enterprise_gateway.identity import ANONYMOUS, Identity
from enterprise_gateway.kernels.requests import owner_of, requested_kernel_id

ID = "01234567-89ab-4cde-8f01-23456789abcd"


def test_a_chosen_id_is_returned_in_lower_case():
    assert requested_kernel_id({"KERNEL_ID": ID.upper()}) == ID


def test_no_chosen_id_leaves_it_to_the_gateway():
    assert requested_kernel_id({}) is None


@pytest.mark.parametrize(
    "written", ["", "x", ID.replace("-", ""), "{" + ID + "}", "urn:uuid:" + ID, ID.replace("-4", "-1"), "../" + ID]
)
def test_an_id_that_is_no_random_uuid_is_refused(written):
    with pytest.raises(BadRequest, match="KERNEL_ID must be a UUID"):
        requested_kernel_id({"KERNEL_ID": written})


def test_the_owner_is_who_the_request_names():
    assert owner_of({"KERNEL_USERNAME": "alice"}, ANONYMOUS, default="gateway") == "alice"


def test_a_kernel_that_nobody_is_named_for_belongs_to_the_default_user():
    assert owner_of({}, ANONYMOUS, default="gateway") == "gateway"


def test_the_owner_is_the_user_of_the_token():
    assert owner_of({}, Identity("alice"), default="gateway") == "alice"


def test_a_request_may_not_name_another_user_than_its_token_does():
    with pytest.raises(Forbidden):
        owner_of({"KERNEL_USERNAME": "bob"}, Identity("alice"), default="gateway")


@pytest.mark.parametrize("name", ["", "   ", "x" * 257, "a\tb", "a\u202eb"])
def test_a_name_that_no_user_can_have_is_refused(name):
    with pytest.raises(BadRequest, match="KERNEL_USERNAME"):
        owner_of({"KERNEL_USERNAME": name}, ANONYMOUS, default="gateway")
