import asyncio
from types import SimpleNamespace

import pytest

from enterprise_gateway.kernels import readiness


@pytest.fixture
def asked(monkeypatch):
    """Return a function that asks and tells each question's patience; the twelfth is answered."""
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

    def ask(how):
        asyncio.run(how(kernel))
        assert sockets[0].sent == len(waited)
        return waited

    return ask


def test_a_kernel_that_is_slow_to_start_is_asked_ever_more_rarely_and_never_for_the_last_time(asked):
    assert asked(readiness.wait_until_it_answers) == [1.0, 2.0, 4.0, *[8.0] * 9]
