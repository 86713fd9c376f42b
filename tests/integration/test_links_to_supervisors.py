"""The gateway's link to a kernel whose supervisor keeps the log, over a line that breaks as lines do."""

import asyncio
import json
import uuid
from contextlib import asynccontextmanager

import pytest
import zmq
from jupyter_client.session import Session
from tests.support.supervised_kernel import GATEWAY, KEY, SERVER, SupervisedKernel
from tests.support.tcp_proxy import TcpProxy

from enterprise_gateway.launch.supervisor_address import SupervisorAddress
from enterprise_gateway.links.link import KernelLink
from enterprise_gateway.links.messages import Header
from enterprise_gateway.links.options import LinkOptions
from enterprise_gateway.links.requests import HeldMessage
from enterprise_gateway_common.executions.recorder import ExecutionRecorder
from enterprise_gateway_common.supervisor_protocol import KernelPhase

pytestmark = pytest.mark.timeout(60)


class Metrics:
    def __init__(self):
        self.dropped_for = []

    def log_bytes(self, change):
        pass

    def dropped(self, reason):
        self.dropped_for.append(reason)


class Client:
    """Takes everything, or as much as it has room for, and counts it as received at once."""

    def __init__(self, room=10**9):
        self.room, self.got, self.gaps, self.gone = room, [], [], False

    @property
    def ready(self):
        return len(self.got) < self.room and not self.gone

    def deliver(self, message, position):
        self.got.append(message)

    def deliver_gap(self, gap):
        self.gaps.append(gap)

    def undelivered_from(self):
        return None

    def taken_over(self):
        self.gone = True

    def text(self):
        # A kernel that starts may warn of its debugger on the other stream.
        streams = [json.loads(one.parts[3]) for one in self.got if one.header.msg_type == "stream"]
        return "".join(stream["text"] for stream in streams if stream["name"] == "stdout")

    def replies(self):
        return [one.parent.msg_id for one in self.got if one.header.msg_type == "execute_reply"]


class Replica:
    """One process' link to a kernel."""

    def __init__(self, port, options=None):
        self.context, self.session, self.metrics = zmq.Context(), Session(key=KEY.encode()), Metrics()
        self.link = KernelLink(
            kernel_id="1",
            context=self.context,
            session=lambda: self.session,
            options=options or LinkOptions(),
            metrics=self.metrics,
            make_recorder=lambda clock: ExecutionRecorder(max_executions=100, max_bytes=1 << 20, clock=clock),
        )
        self.address = SupervisorAddress("127.0.0.1", port, SERVER[0], *GATEWAY)

    async def ready(self):
        self.link.connect({}, supervisor=self.address)
        await self.link.ask_kernel_info()
        await self.link.output_arrives(ask=True)
        self.link.up()
        return self

    async def client(self, session_id, **how):
        client = Client(**how)
        await self.link.attach(session_id)
        cursor = self.link.cursor(session_id)
        cursor.attach(client)
        return client, cursor

    def execute(self, code, session_id, **content):
        msg_id = uuid.uuid4().hex
        header = {**self.session.msg_header("execute_request"), "msg_id": msg_id, "session": session_id}
        parts = [
            json.dumps(part, default=str).encode()
            for part in (header, {}, {"cellId": "c"}, {"code": code, "silent": False, **content})
        ]
        assert self.link.send(HeldMessage("shell", Header(msg_id, "execute_request"), parts, session_id))
        return msg_id

    def kill(self):
        """Leave as a process that is killed: nothing is told to anybody."""
        self.context.destroy(linger=0)

    def close(self):
        self.link.close()
        self.context.destroy(linger=0)


@asynccontextmanager
async def replicas(port, count=1, **options):
    made = [await Replica(port, **options).ready() for _ in range(count)]
    try:
        yield made
    finally:
        for one in made:
            one.close()


async def until(check, seconds=60):
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.01)


@pytest.fixture
def kernel(tmp_path):
    made = SupervisedKernel(tmp_path)
    yield made
    made.close()


def test_what_the_kernel_uses_is_known_at_once_and_told_again(kernel):
    kernel.wait_until_it_listens()

    async def steps():
        async with replicas(kernel.port) as (one,):
            first = one.link.usage
            assert first is not None
            one.execute("import time\nend = time.monotonic() + 4\nwhile time.monotonic() < end: pass", "a")
            # The control group of a test is the machine's, whose memory others use as well; its processor time only grows.
            await until(lambda: (one.link.usage.cpu_cores or 0) > 0.1)
            assert one.link.usage != first

    asyncio.run(steps())


def test_a_line_that_breaks_again_and_again_loses_and_repeats_nothing(kernel):
    kernel.wait_until_it_listens()

    async def steps():
        with TcpProxy(kernel.port) as proxy:
            async with replicas(proxy.port) as (replica,):
                client, _ = await replica.client("mine")
                asked = [replica.execute(f"print({number}, flush=True)", "mine") for number in range(200)]
                breaks = 0
                while (known := len(client.replies())) < len(asked):
                    proxy.reset()
                    breaks += 1
                    # A line that never holds for as long as a handshake takes carries nothing, whoever speaks.
                    await until(lambda known=known: len(client.replies()) >= min(known + 10, len(asked)))
                assert client.text().split() == [str(number) for number in range(200)]
                assert client.replies() == asked
                assert breaks > 1

    asyncio.run(steps())


def test_a_cell_goes_on_while_no_gateway_is_connected_and_the_next_one_has_its_output(kernel):
    code = "import time\nfor number in range(100):\n    print(number, flush=True)\n    time.sleep(0.01)"

    async def steps():
        first = await Replica(kernel.port).ready()
        client, cursor = await first.client("mine")
        asked = first.execute(code, "mine")
        await until(lambda: "20\n" in client.text())
        # What was delivered is told within the time that reports take.
        await asyncio.sleep(0.2)
        seen = client.text().split()
        first.link.observe(lambda _: None)
        first.link.disconnect()
        first.close()
        async with replicas(kernel.port) as (second,):
            back, _ = await second.client("mine")
            await until(lambda: asked in back.replies())
            lines = seen + back.text().split()
            assert sorted(set(map(int, lines))) == list(range(100))
            assert cursor.position.number > 0

    asyncio.run(steps())


def test_a_client_that_comes_before_its_gateway_has_reached_the_kernel_goes_on_where_another_gateway_left_it(kernel):
    code = "import time\nfor number in range(100):\n    print(number, flush=True)\n    time.sleep(0.01)"

    async def steps():
        first = await Replica(kernel.port).ready()
        client, cursor = await first.client("mine")
        asked = first.execute(code, "mine")
        await until(lambda: "20\n" in client.text())
        cursor.detach(None)
        second = Replica(kernel.port)
        back, _ = await second.client("mine")
        waiting = second.execute("print('waited')", "mine")
        await asyncio.sleep(0.1)
        await second.ready()
        try:
            await until(lambda: waiting in back.replies())
            lines = client.text().split() + back.text().split()
            assert lines == [*map(str, range(100)), "waited"]
            assert (client.replies() + back.replies(), back.gaps) == ([asked, waiting], [])
        finally:
            first.close()
            second.close()

    asyncio.run(steps())


def test_a_client_that_waited_for_the_kernel_is_known_to_its_supervisor_and_can_go_on_at_another_gateway(kernel):
    async def steps():
        first = Replica(kernel.port)
        client, cursor = await first.client("mine")
        away, gone = await first.client("away")
        gone.detach(None)
        asked = first.execute("import time; print('begun', flush=True); time.sleep(0.5); print('ended')", "mine")
        others = first.execute("print('of who is away')", "away")
        await first.ready()
        await until(lambda: "begun" in client.text())
        cursor.detach(None)
        async with replicas(kernel.port) as (second,):
            back, _ = await second.client("mine")
            returned, _ = await second.client("away")
            await until(lambda: asked in back.replies() and others in returned.replies())
            assert (client.text() + back.text()).split()[:2] == ["begun", "ended"]
            assert "of who is away" in returned.text()
            assert away.got[1:] == []
        first.close()

    asyncio.run(steps())


def test_what_ran_before_a_gateway_came_is_in_its_record_with_the_cell_and_its_outputs(kernel):
    async def steps():
        first = await Replica(kernel.port).ready()
        client, _ = await first.client("mine")
        asked = [first.execute(f"print({number})\n{number}", "mine") for number in range(3)]
        await until(lambda: client.replies() == asked)
        first.close()
        async with replicas(kernel.port) as (second,):
            assert second.link.executions.all() == []
            await asyncio.gather(second.link.recall(), second.link.recall())
            recorded = second.link.executions.all()
            assert [one.msg_id for one in recorded] == asked
            assert [one.metadata for one in recorded] == [{"cellId": "c"}] * 3
            assert [one.state for one in recorded] == ["ok"] * 3
            printed = [[output["text"] for output in one.outputs() if output.get("name") == "stdout"] for one in recorded]
            assert printed == [["0\n"], ["1\n"], ["2\n"]]
            assert all(one.requested <= one.started <= one.ended for one in recorded)

    asyncio.run(steps())


def test_a_slow_client_holds_up_nobody_and_reads_the_rest_from_the_pod(kernel):
    async def steps():
        async with replicas(kernel.port) as (replica,):
            slow, cursor = await replica.client("slow", room=20)
            fast, _ = await replica.client("fast")
            asked = replica.execute("for number in range(200): print(number, 'x' * 100_000, flush=True)", "fast")
            await until(lambda: asked in fast.replies())
            assert replica.link.log.size < 6 << 20
            slow.room = 10**9
            cursor.advance()
            await until(lambda: len(slow.text()) == len(fast.text()))
            assert slow.text() == fast.text()
            assert slow.gaps == []

    asyncio.run(steps())


def test_a_session_that_another_replica_takes_over_is_let_go_and_goes_on_there(kernel):
    async def steps():
        async with replicas(kernel.port, 2) as (one, other):
            client, cursor = await one.client("mine")
            first = one.execute("print('first')", "mine")
            await until(lambda: first in client.replies())
            taking = asyncio.ensure_future(other.client("mine"))
            await until(lambda: client.gone)
            cursor.detach(None)
            back, _ = await taking
            second = other.execute("print('second')", "mine")
            await until(lambda: second in back.replies())
            assert (client.text(), back.text()) == ("first\n", "second\n")

    asyncio.run(steps())


def test_an_entry_that_gets_lost_in_this_process_is_asked_for_again(kernel, monkeypatch):
    async def steps():
        async with replicas(kernel.port) as (replica,):
            client, _ = await replica.client("mine")
            channels, lost = replica.link._supervisor, []
            take = channels._entry

            def lose_one(entry):
                if not lost and any(b"number 3" in part for part in entry.parts) and entry.channel == "iopub":
                    lost.append(entry)
                else:
                    take(entry)

            monkeypatch.setattr(channels, "_entry", lose_one)
            asked = replica.execute("for number in range(9): print('number', number, flush=True)", "mine")
            await until(lambda: asked in client.replies())
            assert len(lost) == 1
            assert client.text() == "".join(f"number {number}\n" for number in range(9))

    asyncio.run(steps())


def test_a_session_that_moves_away_and_back_gets_everything_once(kernel):
    async def steps():
        async with replicas(kernel.port, 2) as (one, other):
            clients = []
            for number, replica in enumerate((one, other, one, other)):
                client, cursor = await replica.client("mine")
                asked = replica.execute(f"print({number})", "mine")
                await until(lambda client=client, asked=asked: asked in client.replies())
                cursor.detach(None)
                clients.append(client)
            assert [client.text() for client in clients] == ["0\n", "1\n", "2\n", "3\n"]

    asyncio.run(steps())


def test_a_restart_is_seen_by_every_replica_and_ends_what_ran(kernel):
    async def steps():
        async with replicas(kernel.port, 2) as (one, other):
            client, _ = await other.client("mine")
            asked = other.execute("import time; time.sleep(60)", "mine")
            await until(lambda: any(message.header.msg_type == "execute_input" for message in client.got))
            await one.link.restart(reason=None, now=True)
            status = await other.link.status_is(lambda status: status.life == 2)
            assert status.phase is KernelPhase.RUNNING
            await until(lambda: asked in client.replies())
            # As every replica does: what a kernel says before its supervisor is subscribed to it is lost.
            await other.ready()
            again = other.execute("print('again')", "mine")
            await until(lambda: again in client.replies())
            assert client.text() == "again\n"

    asyncio.run(steps())


def test_a_supervisor_that_is_paused_answers_what_was_asked_meanwhile(kernel):
    async def steps():
        async with replicas(kernel.port) as (replica,):
            client, _ = await replica.client("mine")
            kernel.pause()
            asked = replica.execute("print('here')", "mine")
            await asyncio.sleep(2)
            assert client.replies() == []
            kernel.go_on()
            await until(lambda: asked in client.replies())
            assert client.text() == "here\n"

    asyncio.run(steps())


def test_a_gateway_with_another_key_hears_nothing(kernel):
    async def steps():
        async with replicas(kernel.port):
            stranger = Replica(kernel.port)
            stranger.address = SupervisorAddress(
                "127.0.0.1", kernel.port, SERVER[0], *(key.decode() for key in zmq.curve_keypair())
            )
            stranger.link.connect({}, supervisor=stranger.address)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await stranger.link.status_is(lambda _: True)
            stranger.close()

    asyncio.run(steps())
