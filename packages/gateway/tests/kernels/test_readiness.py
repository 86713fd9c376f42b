import asyncio

import pytest

from enterprise_gateway.kernels.readiness import wait_until_it_answers


@pytest.fixture
def asked(make_kernel, monkeypatch):
    """Return a kernel and the questions that it was asked; it answers each at once."""
    kernel, questions = make_kernel(), []

    async def ask_kernel_info(**how):
        questions.append(("kernel_info", how))

    async def output_arrives(**how):
        questions.append(("output", how))

    monkeypatch.setattr(kernel.link, "ask_kernel_info", ask_kernel_info)
    monkeypatch.setattr(kernel.link, "output_arrives", output_arrives)
    return kernel, questions


def test_a_kernel_answers_when_it_has_replied_and_its_output_arrives(asked):
    kernel, questions = asked
    asyncio.run(wait_until_it_answers(kernel))
    assert questions == [("kernel_info", {}), ("output", {"ask": True})]
