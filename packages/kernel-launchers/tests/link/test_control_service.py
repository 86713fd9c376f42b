"""What is answered in the place of a kernel that listens to nothing but an order to end."""

import json

import pytest

from kernel_launchers.link.control_service import ControlService
from kernel_launchers.link.messages import Headers, Signer, headers_of
from kernel_launchers.link.requests import Requests
from kernel_launchers.supervisor.usage import Usage

INFO = {"status": "ok", "language_info": {"name": "R"}}


class Kit:
    def __init__(self):
        self.interrupts, self.usage = 0, Usage(300, 1000, 0.5, 2.0)
        requests = Requests(signer=Signer(key="key", session="supervisor"))
        self.service = ControlService(requests=requests, interrupt=self.interrupt, usage=lambda: self.usage)

    def interrupt(self):
        self.interrupts += 1

    def ask(self, kind):
        parts = [json.dumps({"msg_id": "a", "msg_type": kind, "session": "s"}).encode(), b"{}", b"{}", b"{}"]
        return self.service.answers(headers_of(parts), parts, session_id="mine")

    def content(self, kind):
        return json.loads(self.ask(kind)[1].parts[3])


@pytest.fixture
def kit():
    return Kit()


def test_an_answer_stands_between_busy_and_idle_and_is_for_who_asked(kit):
    told = [(one.channel, one.recipient, headers_of(one.parts)) for one in kit.ask("debug_request")]
    assert [(channel, recipient, headers.msg_type) for channel, recipient, headers in told] == [
        ("iopub", None, "status"),
        ("control", "mine", "debug_reply"),
        ("iopub", None, "status"),
    ]
    assert {headers.parent_id for _, _, headers in told} == {"a"}


def test_an_interrupt_is_done(kit):
    assert kit.content("interrupt_request") == {"status": "ok"}
    assert kit.interrupts == 1


def test_what_the_kernel_said_of_itself_is_said_again(kit):
    assert kit.content("kernel_info_request")["status"] == "error"
    for broken in (b"{", b"[]", b"[" * 100_000):
        kit.service.seen(Headers("r", "kernel_info_reply", "x", ""), broken)
        assert kit.content("kernel_info_request")["status"] == "error"
    kit.service.seen(Headers("r", "kernel_info_reply", "x", ""), json.dumps(INFO).encode())
    assert kit.content("kernel_info_request") == INFO


def test_the_use_of_memory_and_processor_is_that_of_the_container(kit):
    told = kit.content("usage_request")
    assert (told["kernel_memory"], told["kernel_cpu"], told["cpu_count"]) == (300, 50.0, 2.0)
    assert told["host_virtual_memory"] == {"total": 1000, "used": 300, "available": 700, "free": 700, "percent": 30.0}
    kit.usage = Usage(None, None, None, None)
    assert set(kit.content("usage_request")) == {"hostname", "pid", "kernel_memory"}


def test_what_nobody_knows_is_refused_and_an_order_to_end_is_the_kernels(kit):
    assert kit.content("create_subshell_request")["ename"] == "NoReplyError"
    assert kit.ask("shutdown_request") is None
    assert kit.ask("comm_msg") == []
