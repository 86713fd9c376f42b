from kernel_launchers.link.usage_reports import UsageReports
from kernel_launchers.supervisor.usage import Usage

QUIET, BUSY = Usage(1 << 20, None, 0.0, None), Usage(1 << 20, None, 1.0, None)


class Loop:
    """A loop whose time passes when the test says so."""

    def __init__(self):
        self.waiting = []

    def call_later(self, _, callback):
        self.waiting.append(callback)
        return self

    def cancel(self):
        self.waiting.clear()

    def pass_time(self):
        waiting, self.waiting = self.waiting, []
        for callback in waiting:
            callback()


class Meter:
    latest = QUIET

    def __init__(self, *measured):
        self._measured = list(measured)

    def measure(self):
        self.latest = self._measured.pop(0)
        return self.latest


def test_what_did_not_change_is_told_once():
    loop, told = Loop(), []
    UsageReports(loop=loop, meter=Meter(QUIET, BUSY, BUSY, QUIET), tell=told.append)
    for _ in range(4):
        loop.pass_time()
    assert told == [BUSY, QUIET]


def test_after_the_end_nothing_is_measured():
    loop = Loop()
    UsageReports(loop=loop, meter=Meter(), tell=lambda _: None).close()
    loop.pass_time()
    assert loop.waiting == []
