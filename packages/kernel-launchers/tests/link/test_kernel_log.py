"""The log of a kernel, as gateways read it."""

import json

import pytest

from enterprise_gateway_common.message_log import START, Gap
from kernel_launchers.link.kernel_log import KernelLog
from kernel_launchers.link.storage import LogEntry


def entry(text, kind="stream", channel="iopub", recipient=None):
    parts = [json.dumps({"msg_type": kind}).encode(), b'{"msg_id":"p"}', b"{}", text.encode()]
    return LogEntry(channel, parts, recipient=recipient, message_type=kind)


def log(memory=10_000, file=0, messages=1000):
    return KernelLog(memory_bytes=memory, file_bytes=file, max_messages=messages)


def test_entries_are_numbered_and_read_as_they_were_written():
    kept = log()
    first, second = kept.append(entry("one")), kept.append(entry("two", channel="shell", recipient="a"))
    assert (first, second.number) == (START, 1)
    (one, behind), (two, end) = kept.read(first), kept.read(second)
    assert (one.position, one.channel, one.recipient, one.parts[3], behind) == (first, "iopub", None, b"one", second)
    assert (two.channel, two.recipient, end) == ("shell", "a", kept.end)
    assert kept.read(end) is None


def test_a_page_holds_something_and_no_more_than_was_asked_for():
    kept = log()
    for number in range(10):
        kept.append(entry(f"{number}" * 100))
    items, end = kept.page(START, before=kept.end, max_bytes=1)
    assert ([item.parts[3][:1] for item in items], end.number) == ([b"0"], 1)
    items, end = kept.page(START, before=kept.end, max_bytes=10_000)
    assert (len(items), end) == (10, kept.end)
    items, end = kept.page(START, before=items[3].position, max_bytes=10_000)
    assert len(items) == 3


def test_what_the_bounds_drive_out_is_a_gap_on_the_page_and_replies_stay():
    kept = log(memory=1500)
    kept.append(entry("reply", kind="execute_reply", channel="shell"))
    for number in range(9):
        kept.append(entry(f"{number}" * 500))
        kept.enforce(before=kept.end)
    items, _ = kept.page(START, before=kept.end, max_bytes=10_000)
    assert [type(item) is Gap for item in items] == [False, True, False, False]
    assert items[0].channel == "shell"
    assert items[1].messages == 7


def test_what_a_gateway_was_not_sent_yet_is_kept_beyond_the_bounds():
    kept = log(memory=1000)
    position = kept.append(entry("x" * 5000))
    kept.enforce(before=position)
    assert kept.read(position)[0].parts[3] == b"x" * 5000
    kept.enforce(before=kept.end)
    assert isinstance(kept.read(position)[0], Gap)


class FailingFile:
    """A file of a disk that fails while it is read."""

    def __init__(self, what_is_read):
        self._what_is_read = what_is_read

    def seek(self, offset):
        pass

    def write(self, data):
        return len(data)

    def read(self, size):
        return self._what_is_read(size)

    def close(self):
        pass


def broken(_):
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize("what_is_read", [broken, lambda size: b"x" * (size - 1)])
def test_what_the_disk_does_not_give_back_is_a_gap_and_the_rest_stays(what_is_read):
    kept = KernelLog(memory_bytes=1500, file_bytes=1 << 20, max_messages=100, new_file=lambda: FailingFile(what_is_read))
    for number in range(10):
        kept.append(entry(f"{number}" * 500))
    items, end = kept.page(START, before=kept.end, max_bytes=1 << 20)
    assert end == kept.end
    lost = [item for item in items if isinstance(item, Gap)]
    assert lost == items[: len(lost)]
    assert 0 < len(lost) < 10
    assert [item.parts[3] for item in items[len(lost) :]] == [
        entry(f"{number}" * 500).parts[3] for number in range(len(lost), 10)
    ]
    kept.close()
