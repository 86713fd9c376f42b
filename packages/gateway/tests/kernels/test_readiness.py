import asyncio
from types import SimpleNamespace

import pytest

from enterprise_gateway.kernels import readiness


@pytest.fixture
def patience(monkeypatch):
    """For how long a kernel that doesn't answer is waited for after each question; the twelfth time it answers."""
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
        if len(waited) == 12:
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
    kernel = SimpleNamespace(session=session, open_socket=lambda _channel: None)
    asyncio.run(readiness.wait_until_it_answers(kernel))
    assert sockets[0].sent == len(waited)
    return waited


def test_a_kernel_that_is_busy_for_long_is_asked_ever_more_rarely(patience):
    assert patience == [2.0**number for number in range(12)]
