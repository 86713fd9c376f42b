import asyncio

import pytest

from enterprise_gateway.provisioners.exits import exit_words, wait_for_exit


class Polled:
    """A provisioner that only answers polls."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def poll(self):
        return self.answers.pop(0)


class Reporting(Polled):
    async def wait_for_exit(self):
        return "It was evicted."


async def no_time(seconds):
    assert seconds > 0


def test_a_provisioner_that_knows_is_asked():
    assert asyncio.run(wait_for_exit(Reporting(), sleep=no_time)) == "It was evicted."


def test_any_other_provisioner_is_polled_until_its_kernel_has_ended():
    assert asyncio.run(wait_for_exit(Polled(None, None, 3), sleep=no_time)) == "The kernel exited with status 3."


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "The kernel exited with status 0."),
        (-11, "The kernel was ended by SIGSEGV."),
        (-9, "The kernel was ended by SIGKILL. The system may have run out of memory."),
        (-99, "The kernel was ended by signal 99."),
    ],
)
def test_an_exit_status_is_said_in_words(status, words):
    assert exit_words(status) == words
