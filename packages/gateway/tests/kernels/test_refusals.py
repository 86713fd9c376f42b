import pytest

from enterprise_gateway.errors import LaunchRefused
from enterprise_gateway.kernels.refusals import whose_mistake

SENT_BY_EVERY_CLIENT = ["KERNEL_USERNAME", "KERNEL_ID", "KERNEL_LAUNCH_TIMEOUT", "KERNEL_WORKING_DIR"]


@pytest.mark.parametrize(("code", "status"), [(400, 400), (403, 403), (404, 404), (409, 409), (422, 400)])
def test_a_refusal_of_what_a_client_chose_is_the_clients_mistake(code, status):
    told = whose_mistake(LaunchRefused("Kubernetes refused it.", code=code), [*SENT_BY_EVERY_CLIENT, "KERNEL_VOLUMES"])
    assert (told.status, told.message, told.reason) == (status, "Kubernetes refused it.", "Kernel launch failed")


@pytest.mark.parametrize("requested", [[], SENT_BY_EVERY_CLIENT])
def test_a_refusal_of_what_only_the_administrator_wrote_is_none(requested):
    error = LaunchRefused("Kubernetes refused it.", code=422)
    assert whose_mistake(error, requested) is error
    assert error.status == 500


def test_a_right_that_the_gateway_lacks_is_no_clients_mistake():
    error = LaunchRefused("forbidden", code=0)
    assert whose_mistake(error, ["KERNEL_NAMESPACE"]) is error
