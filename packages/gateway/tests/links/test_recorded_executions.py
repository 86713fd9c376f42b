"""What a link records of the requests that go through it."""

import asyncio
import json

import pytest
import zmq
from jupyter_client.session import Session

from enterprise_gateway.links.link import KernelLink
from enterprise_gateway.links.messages import Header, MalformedMessage
from enterprise_gateway.links.options import LinkOptions
from enterprise_gateway.links.requests import HeldMessage
from enterprise_gateway_common.executions.recorder import ExecutionRecorder


class Metrics:
    def log_bytes(self, change):
        pass

    def dropped(self, reason):
        pass


@pytest.fixture
def link():
    context, session = zmq.Context(), Session(key=b"key")
    made = KernelLink(
        kernel_id="1",
        context=context,
        session=lambda: session,
        options=LinkOptions(),
        metrics=Metrics(),
        make_recorder=lambda clock: ExecutionRecorder(max_executions=10, max_bytes=1 << 20, clock=clock),
    )
    made.up()
    yield made
    made.close()
    context.destroy(linger=0)


def request(msg_id, code="1", metadata=None):
    header = {"msg_id": msg_id, "msg_type": "execute_request", "session": "of a client"}
    parts = [json.dumps(part).encode() for part in (header, {}, metadata or {}, {"code": code})]
    return HeldMessage("shell", Header(msg_id, "execute_request"), parts, "of a client")


def states(link):
    return {execution.msg_id: execution.state for execution in link.executions.all()}


def test_a_request_that_waits_for_a_restart_is_recorded_and_ends_with_the_kernel(link):
    async def steps():
        link.restarting("It died.")
        assert link.send(request("a", "1 + 1", {"cellId": "x"}))
        (execution,) = link.executions.all()
        assert (execution.state, execution.code, execution.metadata) == ("queued", "1 + 1", {"cellId": "x"})
        link.dead("It died again.")
        assert states(link) == {"a": "error"}

    asyncio.run(steps())


def test_a_request_to_a_dead_kernel_is_recorded_with_the_error_that_its_client_gets(link):
    link.dead("It died.")
    assert not link.send(request("a", "1 + 1"))
    (execution,) = link.executions.all()
    assert (execution.state, execution.code, execution.truncated) == ("error", "1 + 1", False)
    assert [output["evalue"] for output in execution.outputs()] == ["It died."]


def test_a_request_that_cant_be_sent_is_not_recorded(link, monkeypatch):
    def refuse(message):
        raise MalformedMessage("no such message in that version")

    monkeypatch.setattr(link, "_transmit", refuse)
    monkeypatch.setattr(link._channels, "_sockets", {"shell": None})
    with pytest.raises(MalformedMessage):
        link.send(request("a"))
    monkeypatch.undo()
    assert states(link) == {}


def test_a_link_that_is_closed_gives_back_what_its_record_took(link):
    async def steps():
        link.restarting(None)
        link.send(request("a"))
        assert link.executions.size > 0
        link.close()
        assert (link.executions.size, states(link)) == (0, {})

    asyncio.run(steps())
