"""What the log keeps in memory, what in a file, and what becomes of it when the disk is full."""

import errno
import io
import json

import pytest

from kernel_launchers.link.storage import LogEntry, Storage


def entry(text, kind="stream", channel="iopub"):
    parts = [json.dumps({"msg_type": kind}).encode(), b'{"msg_id":"p"}', b"{}", text.encode()]
    return LogEntry(channel, parts, recipient=None, message_type=kind)


def test_entries_beyond_the_bound_of_memory_are_read_from_the_file():
    storage = Storage(memory_bytes=2000, file_bytes=1 << 20, full=lambda _: None)
    entries = [entry(f"{number}" * 500) for number in range(9)]
    for one in entries:
        storage.add(one)
    assert [one.in_memory for one in entries] == [False] * 6 + [True] * 3
    assert storage.memory_used <= 2000
    assert [one.parts[3] for one in entries] == [f"{number}".encode() * 500 for number in range(9)]
    assert entries[0].parent_header == b'{"msg_id":"p"}'
    storage.close()


def test_what_is_removed_gives_its_room_back():
    storage = Storage(memory_bytes=0, file_bytes=16 << 20, full=lambda _: None)
    entries = [entry("x" * 400_000) for _ in range(12)]
    for one in entries:
        storage.add(one)
    assert storage.file_used > 4 << 20
    for one in entries[:-1]:
        storage.remove(one)
    assert storage.file_used < 2 << 20
    storage.close()


def test_a_few_entries_that_stay_dont_keep_the_room_of_all_that_went():
    storage = Storage(memory_bytes=0, file_bytes=16 << 20, full=lambda _: None)
    kept = []
    for _ in range(80):
        kept.append(entry("kept", kind="status"))
        storage.add(kept[-1])
        output = [entry("x" * 300_000) for _ in range(4)]
        for one in output:
            storage.add(one)
        for one in output:
            storage.remove(one)
    assert storage.file_used < 32 << 20
    assert {one.parts[3] for one in kept} == {b"kept"}
    storage.close()


class FullDisk(io.BytesIO):
    """A file that takes so many bytes and no more: of the last write a part, or nothing."""

    def __init__(self, room, *, partly):
        super().__init__()
        self._room, self._partly = room, partly

    def write(self, data):
        if self.tell() + len(data) <= self._room:
            return super().write(data)
        if not self._partly:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data[: self._room - self.tell()])


@pytest.mark.parametrize("partly", [False, True])
def test_a_full_disk_leaves_what_it_has_and_bounds_the_rest_by_memory(partly):
    told = []
    storage = Storage(memory_bytes=1000, file_bytes=1 << 20, full=told.append, new_file=lambda: FullDisk(1200, partly=partly))
    entries = [entry(f"{number}" * 500) for number in range(5)]
    for one in entries:
        storage.add(one)
    assert len(told) == 1
    assert 1000 < told[0] < 3000
    assert [one.parts[3] for one in entries] == [f"{number}".encode() * 500 for number in range(5)]
    storage.close()


def test_without_a_place_for_a_file_everything_is_in_memory():
    def nowhere():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    told = []
    storage = Storage(memory_bytes=1000, file_bytes=1 << 20, full=told.append, new_file=nowhere)
    for number in range(5):
        storage.add(entry(f"{number}" * 500))
    assert told == [1000]
    assert storage.file_used == 0
