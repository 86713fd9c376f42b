import asyncio
from types import SimpleNamespace

import pytest

from enterprise_gateway.errors import Unavailable
from enterprise_gateway.kernels import readiness
from enterprise_gateway.kernels.activity import ActivityMonitor
from enterprise_gateway.kernels.kernel import ExecutionState


@pytest.fixture
def asked(monkeypatch):
    """Return a function that asks and tells each question's patience; the twelfth is answered, or one with no end."""
    waited, sockets = [], []

    class Socket:
        def __init__(self, *, socket, received):
            self.received, self.sent = received, 0
            sockets.append(self)

        def send(self, _frames):
            self.sent += 1

        def close(self):
            pass

    async def wait(futures, timeout):
        waited.append(timeout)
        if len(waited) == 12 or timeout is None:
            sockets[0].received([b"reply"])
            await asyncio.sleep(0)
        return futures

    monkeypatch.setattr(readiness, "ChannelSocket", Socket)
    monkeypatch.setattr(readiness.asyncio, "wait", wait)
    message = {"msg_type": "kernel_info_reply", "content": {"protocol_version": "5.4"}}
    session = SimpleNamespace(
        feed_identities=lambda frames: ([], frames),
        deserialize=lambda _frames: message,
        serialize=lambda sent: [sent],
        msg=lambda kind: kind,
        adapt_version=0,
    )
    proofs = []
    kernel = SimpleNamespace(session=session, open_socket=lambda _channel: None, proved_idle=lambda: proofs.append(True))

    def ask(how):
        asyncio.run(how(kernel))
        assert sockets[0].sent == len(waited)
        return waited, proofs

    return ask


def test_a_kernel_that_is_slow_to_start_is_asked_ever_more_rarely_and_never_for_the_last_time(asked):
    assert asked(readiness.wait_until_it_answers) == ([1.0, 2.0, 4.0, *[8.0] * 9], [])


def test_a_busy_kernel_is_asked_once_however_long_its_cell_runs(asked):
    assert asked(readiness.prove_idle) == ([None], [True])


def test_a_busy_kernel_that_cannot_be_asked_stays_busy_and_can_be_asked_later(make_kernel, monkeypatch, caplog):
    kernel = make_kernel()
    kernel.execution_state = ExecutionState.BUSY

    def refused(_channel, _identity=None):
        raise Unavailable("No more sockets.")

    monkeypatch.setattr(kernel, "open_socket", refused)

    async def run():
        monitor = ActivityMonitor(kernel=kernel)
        for _ in range(2):
            monitor._ask_if_busy()
            await monitor._question

    asyncio.run(run())
    assert kernel.execution_state == ExecutionState.BUSY
    assert [record.cause for record in caplog.records] == ["No more sockets."] * 2
