import pytest

from enterprise_gateway_common.kernel_messages.open_requests import OpenRequest, OpenRequests


def send(requests, name, kind="execute_request", header=b"{}"):
    request = OpenRequest(channel="shell", request_type=kind, header=header)
    requests.sent(name, request)
    return request


@pytest.fixture
def requests():
    return OpenRequests()


@pytest.mark.parametrize("order", [("replied", "ended"), ("ended", "replied")])
def test_a_request_is_open_until_its_reply_and_its_idle_were_seen(requests, order):
    send(requests, "a")
    requests.began("a")
    for step in order:
        assert len(requests) == 1
        getattr(requests, step)("a")
    assert len(requests) == 0


def test_what_was_seen_of_a_request_is_known_of_it(requests):
    waiting, running, told = (send(requests, name) for name in "abc")
    requests.began("b")
    requests.replied("c")
    assert requests.take_all() == [waiting, running, told]
    assert [(r.began, r.replied, r.ended) for r in (waiting, running, told)] == [
        (False, False, False),
        (True, False, False),
        (False, True, False),
    ]


def test_what_the_kernel_is_done_with_and_did_not_answer_can_be_taken_once(requests):
    done, _ = send(requests, "a"), send(requests, "b")
    assert requests.take_half_answered("a") is None
    for name in "ab":
        is_done = requests.seen("iopub", "status", request_id=name, content=b'{"execution_state": "idle"}')
        assert is_done
    requests.replied("b")
    assert [requests.take_half_answered(name) for name in "abac"] == [done, None, None, None]
    assert len(requests) == 0


def test_the_idle_of_what_was_answered_leaves_nothing_to_wait_for(requests):
    send(requests, "a")
    requests.replied("a")
    assert not requests.seen("iopub", "status", request_id="a", content=b'{"execution_state": "idle"}')


def test_what_was_aborted_without_an_idle_can_be_taken_and_what_ran_waits_for_its_output(requests):
    aborted, _ = send(requests, "a"), send(requests, "b")
    assert requests.seen("shell", "execute_reply", request_id="a", content=b'{"status": "aborted"}')
    for content in (b'{"status": "ok", "matches": ["abort", "aborted"]}', b'"aborted', b'["abort"]'):
        assert not requests.seen("shell", "execute_reply", request_id="b", content=content)
    assert requests.take_half_answered("a") is aborted
    assert len(requests) == 1


def test_all_are_taken_once(requests):
    send(requests, "a")
    assert len(requests.take_all()) == 1
    assert requests.take_all() == []


@pytest.mark.parametrize("kind", ["comm_msg", "input_reply", "comm_open"])
def test_what_gets_no_reply_is_not_remembered(requests, kind):
    send(requests, "a", kind)
    assert len(requests) == 0


def test_answers_to_other_sessions_mean_nothing(requests):
    send(requests, "a", "kernel_info_request")
    for step in ("began", "replied", "ended"):
        getattr(requests, step)("somebody else's")
    (request,) = requests.take_all()
    assert (request.began, request.replied, request.ended) == (False, False, False)


def test_beyond_the_bounds_the_oldest_are_forgotten():
    requests = OpenRequests(most=3, most_bytes=100)
    for name in "abcd":
        send(requests, name)
    assert len(requests) == 3
    last = send(requests, "e", header=b"x" * 97)
    assert len(requests.take_all()) == 2
    assert send(requests, "f", header=b"x" * 101) is not last
    assert requests.take_all() == []


def test_the_same_id_again_stands_for_the_new_request_and_counts_once():
    requests = OpenRequests(most_bytes=100)
    for _ in range(10):
        last = send(requests, "a", header=b"x" * 60)
    assert requests.take_all() == [last]


def test_where_no_cell_is_known_to_have_begun_the_first_that_has_no_answer_did(requests):
    question = send(requests, "a", "kernel_info_request")
    answered, first, second = (send(requests, name) for name in "bcd")
    requests.replied("b")
    assert requests.take_all() == [question, answered, first, second]
    assert [request.began for request in (question, answered, first, second)] == [False, False, True, False]


def test_where_a_cell_is_known_to_have_begun_no_other_is_taken_for_it(requests):
    waiting, running = send(requests, "a"), send(requests, "b")
    requests.began("b")
    requests.take_all()
    assert (waiting.began, running.began) == (False, True)
