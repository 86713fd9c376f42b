import pytest

from enterprise_gateway_common.kernel_messages.message_types import is_activity, is_output_activity, is_work, reply_type

POLLS = [
    "kernel_info_request",
    "comm_info_request",
    "debug_request",
    "usage_request",
    "list_subshell_request",
    "create_subshell_request",
    "delete_subshell_request",
    "history_request",
    "connect_request",
    "interrupt_request",
    "shutdown_request",
]
USES = [
    "execute_request",
    "complete_request",
    "inspect_request",
    "is_complete_request",
    "comm_open",
    "comm_msg",
    "comm_close",
    "input_reply",
]


@pytest.mark.parametrize("request_type", POLLS)
def test_what_clients_ask_by_themselves_is_neither_work_nor_activity(request_type):
    assert not is_work(request_type)
    assert not is_activity(request_type)
    for message_type in ("status", "stream", reply_type(request_type)):
        assert not is_output_activity(message_type, request_type)


@pytest.mark.parametrize("request_type", USES)
def test_use_of_the_kernels_language_is_activity(request_type):
    assert is_activity(request_type)
    assert is_output_activity("status", request_type)
    assert is_output_activity("stream", request_type)


@pytest.mark.parametrize("request_type", ["execute_request", "comm_msg", "acme_train_request", ""])
def test_whatever_is_no_known_poll_is_work(request_type):
    assert is_work(request_type)


def test_a_poll_that_nobody_knows_yet_is_no_activity():
    assert not is_activity("acme_memory_request")
    assert not is_output_activity("status", "acme_memory_request")


def test_output_of_no_request_is_activity_and_a_status_or_welcome_of_none_is_not():
    assert is_output_activity("stream", "")
    assert not is_output_activity("status", "")
    assert not is_output_activity("iopub_welcome", "")


def test_a_poll_that_is_answered_in_public_is_no_activity():
    assert not is_output_activity("shutdown_reply", "")


@pytest.mark.parametrize(
    ("message_type", "expected"),
    [("execute_request", "execute_reply"), ("comm_info_request", "comm_info_reply"), ("comm_msg", None), ("input_reply", None)],
)
def test_requests_get_a_reply_of_their_name_and_other_messages_none(message_type, expected):
    assert reply_type(message_type) == expected
