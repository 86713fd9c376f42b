"""Cursors over a log without a kernel: who gets what, in which order, and who is waited for."""

import asyncio
import json

import pytest
import zmq
from jupyter_client.session import Session

from enterprise_gateway.links.link import KernelLink
from enterprise_gateway.links.messages import KernelMessage
from enterprise_gateway.links.options import LinkOptions
from enterprise_gateway_common.message_log import Gap, Position
from enterprise_gateway_common.supervisor_protocol import NO_SESSION


class Outlet:
    """Takes what it has room for."""

    def __init__(self, room=1000):
        self.room, self.got, self.in_flight = room, [], None

    @property
    def ready(self):
        return len(self.got) < self.room

    def deliver(self, message, position):
        self.got.append(json.loads(message.parts[3])["text"])

    def deliver_gap(self, gap):
        self.got.append((gap.messages, gap.size))

    def undelivered_from(self):
        return self.in_flight


class Counts:
    def __init__(self):
        self.kept, self.dropped_for = 0, []

    def log_bytes(self, change):
        self.kept += change

    def dropped(self, reason):
        self.dropped_for.append(reason)


SIZE = len(b'{"msg_id": "1", "msg_type": "stream"}{}{}{"text": "0000"}')


def said(link, *texts, recipient=None):
    for text in texts:
        parts = [b'{"msg_id": "1", "msg_type": "stream"}', b"{}", b"{}", json.dumps({"text": text}).encode()]
        link.append(KernelMessage("iopub", parts, recipient=recipient))


@pytest.fixture
def made_links():
    return []


@pytest.fixture
def counts_of(made_links):
    """Return a function that tells what was counted of a link."""
    return lambda link: next(counts for one, counts in made_links if one is link)


@pytest.fixture
def make_link(made_links):
    """Return a function that makes a link which is connected to nobody."""
    context = zmq.Context()
    links = made_links

    def make(**options):
        counts = Counts()
        session = Session(key=b"key")
        link = KernelLink(kernel_id="1", context=context, session=lambda: session, options=LinkOptions(**options), metrics=counts)
        link.up()
        links.append((link, counts))
        return link

    yield make
    for link, counts in links:
        link.close()
        assert counts.kept == link.log.size
    context.destroy(linger=0)


@pytest.fixture(autouse=True)
def no_turns(monkeypatch):
    """Let a cursor read on for as long as it likes: what goes on in another turn needs a loop, which these tests are without."""
    monkeypatch.setattr("enterprise_gateway.links.cursor._TURN_SECONDS", 3600)


def attached(link, session_id, room=1000):
    cursor, outlet = link.cursor(session_id), Outlet(room)
    cursor.attach(outlet)
    return cursor, outlet


def test_a_new_session_gets_what_is_said_from_then_on(make_link):
    link = make_link()
    said(link, "0000")
    _, outlet = attached(link, "a")
    said(link, "0001", "0002")
    assert outlet.got == ["0001", "0002"]


def test_a_message_to_one_session_reaches_no_other(make_link):
    link = make_link()
    (_, a), (_, b) = attached(link, "a"), attached(link, "b")
    said(link, "0001", recipient="a")
    said(link, "0002")
    assert (a.got, b.got) == (["0001", "0002"], ["0002"])


def test_a_session_that_was_away_goes_on_where_its_client_stopped(make_link):
    link = make_link()
    cursor, _ = attached(link, "a")
    said(link, "0000", "0001")
    cursor.detach(Position(1, SIZE))
    said(link, "0002")
    again, outlet = attached(link, "a")
    assert again is cursor
    assert outlet.got == ["0001", "0002"]


def test_a_slow_client_misses_what_a_full_log_drops_and_holds_up_nobody(make_link):
    link = make_link(log_bytes=2 * SIZE)
    slow, outlet = attached(link, "slow", room=1)
    _, quick = attached(link, "quick")
    said(link, "0000", "0001", "0002", "0003", "0004")
    assert quick.got == ["0000", "0001", "0002", "0003", "0004"]
    outlet.room = 1000
    slow.advance()
    assert outlet.got == ["0000", (2, 2 * SIZE), "0003", "0004"]


def test_where_all_clients_are_slow_nothing_is_dropped_and_the_kernel_is_not_read(make_link):
    link = make_link(log_bytes=2 * SIZE, read_ahead_bytes=3 * SIZE)
    cursor, outlet = attached(link, "a", room=1)
    said(link, "0000", "0001", "0002", "0003")
    assert link._channels.reading
    said(link, "0004")
    assert not link._channels.reading
    outlet.room = 3
    cursor.advance()
    assert not link._channels.reading
    outlet.room = 1000
    cursor.advance()
    assert link._channels.reading
    assert outlet.got == ["0000", "0001", "0002", "0003", "0004"]


def test_a_link_knows_whether_a_client_is_yet_to_get_something(make_link):
    link = make_link()
    slow, outlet = attached(link, "slow", room=1)
    attached(link, "fast")
    said(link, "0000")
    assert not link.delivering
    said(link, "0001")
    assert link.delivering
    outlet.room = 2
    slow.advance()
    assert not link.delivering
    said(link, "0002")
    slow.detach(None)
    assert not link.delivering


def test_when_the_last_slow_client_leaves_the_kernel_is_read_again(make_link):
    link = make_link(read_ahead_bytes=SIZE)
    cursor, _ = attached(link, "a", room=0)
    said(link, "0000", "0001")
    assert not link._channels.reading
    cursor.detach(None)
    assert link._channels.reading


def test_one_message_larger_than_the_log_reaches_those_who_are_connected(make_link):
    link = make_link(log_bytes=10)
    cursor, outlet = attached(link, "a", room=0)
    said(link, "0000")
    outlet.room = 1
    cursor.advance()
    assert outlet.got == ["0000"]
    assert link.log.size == 0


def test_what_was_written_and_may_not_have_arrived_is_kept(make_link, monkeypatch):
    monkeypatch.setattr("enterprise_gateway.links.readers._SPARE_BYTES", 0)
    link = make_link()
    cursor, outlet = attached(link, "a")
    outlet.in_flight = Position(1, SIZE)
    said(link, "0000", "0001", "0002")
    assert len(link.log) == 2
    cursor.detach(Position(1, SIZE))
    _, again = attached(link, "a")
    assert again.got == ["0001", "0002"]


def test_what_everybody_has_received_is_not_kept_beyond_a_spare(make_link, monkeypatch):
    monkeypatch.setattr("enterprise_gateway.links.readers._SPARE_BYTES", 10 * SIZE)
    link = make_link()
    attached(link, "a")
    for _ in range(100):
        said(link, "0000")
        assert link.log.size <= 11 * SIZE


def test_a_backlog_is_read_in_turns_with_others(make_link, monkeypatch):
    monkeypatch.setattr("enterprise_gateway.links.cursor._TURN_SECONDS", -1)

    async def run():
        link = make_link()
        cursor, outlet = attached(link, "a", room=0)
        said(link, *(f"{number:04}" for number in range(20)))
        outlet.room = 1000
        cursor.advance()
        taken = len(outlet.got)
        while len(outlet.got) < 20:
            await asyncio.sleep(0)
        return taken, outlet.got

    taken, got = asyncio.run(run())
    assert (taken, got) == (1, [f"{number:04}" for number in range(20)])


def test_frames_are_made_once_for_many_clients_and_not_kept(make_link):
    link, made = make_link(), []

    def encode(message):
        made.append(message)
        return b"frame", True

    class Encoding(Outlet):
        def deliver(self, message, position):
            self.got.append(message.frame(encode))

    for session in "abc":
        link.cursor(session).attach(Encoding())
    said(link, "0000")
    assert len(made) == 1
    made[0].frame(encode)
    assert len(made) == 2


def test_output_over_which_a_client_is_lost_twice_is_replaced_and_what_follows_arrives(make_link, counts_of):
    link = make_link()
    cursor, _ = attached(link, "a")
    said(link, "for another", recipient="b")
    large = link.log.end
    said(link, "x" * 200_000, "0002")
    for _ in range(2):
        cursor.detach(large)
        _, outlet = attached(link, "a")
    assert outlet.got[0].startswith("[output of 200")
    assert outlet.got[1:] == ["0002"]
    assert counts_of(link).dropped_for == ["too_large_for_client"]


def test_what_is_for_nobody_is_not_for_a_client_of_that_name(make_link):
    link = make_link()
    _, outlet = attached(link, NO_SESSION)
    said(link, "for nobody", recipient=NO_SESSION)
    said(link, "for all")
    assert outlet.got == ["for all"]


def test_a_gap_says_how_much_is_missing():
    gap = Gap(Position(1, 10), Position(3, 40))
    assert (gap.messages, gap.size) == (2, 30)


# ---------------------------------------------------------------------------- places that only a supervisor knows


def test_nothing_is_read_to_a_session_whose_place_isnt_known_yet(make_link):
    link = make_link()
    cursor, outlet = attached(link, "mine")
    link._readers.begin_at(Position(5, 50))
    said(link, "0000")
    assert (link._readers.unplaced, outlet.got) == (["mine"], [])
    link._readers.placed("mine", None)
    assert (link._readers.unplaced, outlet.got, cursor.position.number) == ([], ["0000"], 6)


@pytest.mark.parametrize("told", [Position(5, 50), Position(9, 90)], ids=["there", "behind what was said since"])
def test_a_new_session_reads_from_where_the_log_was_reached(make_link, told):
    link = make_link()
    _, outlet = attached(link, "mine")
    link._readers.begin_at(Position(5, 50))
    said(link, "0000")
    link._readers.placed("mine", told)
    assert outlet.got == ["0000"]


def test_a_session_of_another_replica_goes_on_before_that(make_link):
    link = make_link()
    cursor = link.cursor("mine")
    link._readers.begin_at(Position(5, 50))
    link._readers.placed("mine", Position(3, 30))
    assert cursor.position == Position(3, 30)
    link._readers.placed("mine", Position(1, 10))
    assert cursor.position == Position(3, 30)


def test_a_message_beside_the_log_reaches_a_client_that_takes_it_and_moves_no_position(make_link):
    link = make_link()
    cursor, outlet = attached(link, "mine", room=1)
    beside = KernelMessage("iopub", [b'{"msg_id": "1", "msg_type": "stream"}', b"{}", b"{}", b'{"text": "beside"}'])
    taken = [link._readers.show(session, beside) for session in ("mine", "mine", "nobody's")]
    assert (taken, outlet.got, cursor.position.number, len(link.log)) == ([True, False, False], ["beside"], 0, 0)
