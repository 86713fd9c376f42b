import pytest

from enterprise_gateway_common.termination import split_termination_message, termination_message


@pytest.mark.parametrize("last_words", ["", "one", "one\ntwo"])
def test_what_was_written_is_read(last_words):
    message = termination_message("The kernel exited with status 7.", last_words, longest=4096)
    assert split_termination_message(message.decode()) == ("The kernel exited with status 7.", last_words)


@pytest.mark.parametrize("longest", [10, 33, 45, 60])
def test_it_is_never_longer_than_it_may_be(longest):
    assert len(termination_message("The kernel exited with status 7.", "x" * 100, longest=longest)) <= longest


@pytest.mark.parametrize("message", ["", "Killed", "launch-kernel: the image has no IPython kernel: …"])
def test_what_another_wrote_or_a_refused_launch_is_left_as_it_is(message):
    assert split_termination_message(message) == (None, message)
