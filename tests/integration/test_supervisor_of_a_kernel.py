"""A kernel behind its supervisor, seen by gateways: nothing is lost, and nothing runs twice."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import zmq
from tests.support.supervised_kernel import SupervisedKernel, curve_pair, parent_of, text_of, type_of

from enterprise_gateway_common.connection import PORTS
from enterprise_gateway_common.message_log import Gap
from enterprise_gateway_common.supervisor_protocol import Kind

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def linked(tmp_path):
    """Return a function that starts a launcher with a kernel."""
    started = []

    def start(**how):
        started.append(SupervisedKernel(tmp_path, **how))
        return started[-1]

    yield start
    for one in started:
        one.close()


def idle(msg_id):
    return lambda one: type_of(one) == "status" and parent_of(one) == msg_id and b'"idle"' in one.parts[3]


def test_a_cell_runs_and_is_answered(linked):
    gateway = linked().gateway()
    asked = gateway.execute("print(6 * 7)")
    assert gateway.reply_to(asked)["status"] == "ok"
    gateway.until(idle(asked))
    assert text_of(gateway.entries, asked) == "42\n"


def listening(*processes):
    """Return address and port of everything that some processes listen on, as /proc has them."""
    sockets = {str(file.readlink()) for process in processes for file in Path(f"/proc/{process}/fd").iterdir() if file.exists()}
    tables = [Path(f"/proc/net/{name}") for name in ("tcp", "tcp6")]
    rows = [row.split() for table in tables if table.exists() for row in table.read_text().splitlines()[1:]]
    found = [row[1].split(":") for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]
    return [(address, int(port, 16)) for address, port in found]


@pytest.mark.parametrize("command", [(), ("--", sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}")])
def test_only_the_supervisors_port_is_open(linked, command):
    kernel = linked(command=command)
    gateway = kernel.gateway()
    asked = gateway.execute("import os; print(os.getpid())")
    gateway.until(idle(asked))
    found = listening(kernel.process.pid, int(text_of(gateway.entries, asked)))
    loopback = [port for address, port in found if address == "0100007F"]
    assert len(loopback) >= (len(PORTS) if command else 0)
    assert [port for address, port in found if address != "0100007F"] == [kernel.port]


def test_a_port_that_is_taken_is_named_and_no_kernel_stays(linked, monkeypatch):
    first = linked()
    first.gateway()
    monkeypatch.setattr("tests.support.supervised_kernel._free_port", lambda: first.port)
    second = linked()
    assert second.process.wait(timeout=30) == 1
    assert (
        f"launch-kernel: the supervisor can't listen for gateways on port {first.port}: Address already in use" in second.output()
    )
    assert "Traceback" not in second.output()


@pytest.mark.parametrize("stranger", ["another key", "no key"])
def test_a_stranger_is_let_in_by_nothing(linked, stranger):
    kernel = linked()
    kernel.gateway()
    if stranger == "another key":
        other = kernel.connect(keys=curve_pair())
    else:
        other = kernel.connect()
        other.socket.close()
        other.socket = other._context.socket(zmq.DEALER)
        other.socket.linger = 0
        other.socket.connect(f"tcp://127.0.0.1:{kernel.port}")
    other.say(Kind.HELLO, {"versions": [1], "replica": "stranger"})
    with pytest.raises(TimeoutError):
        other.hear(*Kind, seconds=1)


def test_what_was_said_while_no_gateway_was_there_is_there_for_the_next(linked):
    kernel = linked()
    first = kernel.gateway()
    asked = first.execute("import time\nfor number in range(200):\n    print(number, flush=True)\n    time.sleep(0.005)")
    first.until(lambda one: type_of(one) == "stream" and parent_of(one) == asked)
    position = first.entries[-1].position
    first.close()
    second = kernel.connect(replica="another")
    second.hello()
    second.follow(position)
    assert second.reply_to(asked)["status"] == "ok"
    second.until(idle(asked))
    known = [one for one in first.entries if one.position < position]
    assert text_of([*known, *second.entries], asked).split() == [str(number) for number in range(200)]


def test_a_message_that_is_sent_twice_runs_once(linked):
    gateway = linked().gateway()
    for _ in range(2):
        asked = gateway.execute("count = globals().get('count', 0) + 1; print(count)", msg_id="the-same")
    other = gateway.execute("print('count', count)")
    gateway.until(idle(other))
    assert text_of(gateway.entries, asked) == "1\n"
    assert text_of(gateway.entries, other) == "count 1\n"


def test_what_a_kernel_does_not_read_is_left_to_the_gateway_beyond_a_few(linked):
    gateway = linked().gateway()
    asked = gateway.execute("import os; print(os.getpid())")
    gateway.until(idle(asked))
    kernel = int(text_of(gateway.entries, asked))
    os.kill(kernel, signal.SIGSTOP)
    try:
        for _ in range(100):
            last = gateway.send("shell", "comm_info_request", {"padding": "x" * 500_000})
        taken = 0
        while gateway.hears(Kind.TAKEN, seconds=1):
            taken += 1
        assert taken < 100
    finally:
        os.kill(kernel, signal.SIGCONT)
    gateway.until(lambda one: one.channel == "shell" and parent_of(one) == last)


def test_a_session_goes_on_where_it_was_delivered_to(linked):
    kernel = linked()
    first = kernel.gateway()
    first.say(Kind.ATTACH, {"session": "a-session"})
    attached = first.hear(Kind.ATTACHED)[1]
    asked = first.execute("print('said')")
    first.until(idle(asked))
    first.reply_to(asked)
    entry = next(one for one in first.entries if type_of(one) == "stream" and parent_of(one) == asked)
    first.say(Kind.DELIVERED, {"sessions": {"a-session": entry.position}})
    # Answers come in the order of the questions.
    first.command("unknown")
    second = kernel.connect(replica="another")
    welcome = second.hello()
    first.close()
    second.say(Kind.ATTACH, {"session": "a-session"})
    assert second.hear(Kind.ATTACHED)[1]["position"] == list(entry.position)
    assert attached["position"] < list(entry.position) < welcome["end"]
    second.say(Kind.ATTACH, {"session": "a-new-one"})
    assert second.hear(Kind.ATTACHED)[1]["position"] == welcome["end"]


def test_a_session_that_changes_over_is_taken_from_the_replica_that_had_it(linked):
    kernel = linked()
    first, second = kernel.gateway(replica="first"), kernel.gateway(replica="second")
    first.say(Kind.ATTACH, {"session": "a-session"})
    first.hear(Kind.ATTACHED)
    asked = first.execute("print('said')")
    first.until(idle(asked))
    second.say(Kind.ATTACH, {"session": "a-session"})
    assert first.hear(Kind.TAKEN_OVER)[1] == {"session": "a-session"}
    last = first.entries[-1].position
    first.say(Kind.DELIVERED, {"sessions": {"a-session": (0, 0)}})
    first.say(Kind.DELIVERED, {"sessions": {"a-session": last}, "left": "a-session"})
    assert second.hear(Kind.ATTACHED)[1]["position"] == list(last)


def test_replies_go_to_the_session_that_asked_and_requests_stand_in_the_log(linked):
    gateway = linked().gateway()
    asked = gateway.execute("1", session="mine", metadata={"cellId": "the-cell"})
    gateway.until(lambda one: one.channel == "shell" and parent_of(one) == asked)
    reply = next(one for one in gateway.entries if one.channel == "shell" and parent_of(one) == asked)
    assert reply.recipient == "mine"
    request = next(one for one in gateway.entries if one.channel == "requests")
    assert json.loads(request.parts[0])["msg_id"] == asked
    assert json.loads(request.parts[2]) == {"cellId": "the-cell"}
    assert json.loads(request.parts[3])["code"] == "1"


def test_that_a_cell_runs_is_told_although_it_says_nothing(linked, tmp_path):
    gateway = linked().gateway()
    seen = tmp_path / "seen"
    asked = gateway.execute(f"import os, time\nwhile not os.path.exists({str(seen)!r}): time.sleep(0.02)")
    gateway.until(lambda one: type_of(one) == "execute_input" and parent_of(one) == asked)
    kinds = [type_of(one) for one in gateway.entries if asked in {parent_of(one), json.loads(one.parts[0])["msg_id"]}]
    assert kinds == ["execute_request", "status", "execute_input"]
    seen.touch()
    assert gateway.reply_to(asked)["status"] == "ok"


def test_a_request_that_the_kernel_leaves_unanswered_is_answered_in_its_place(linked):
    gateway = linked().gateway()
    asked = gateway.send("shell", "unknown_request", {})
    reply = gateway.reply_to(asked)
    assert (reply["status"], reply["ename"]) == ("error", "NoReplyError")
    assert gateway.reply_to(gateway.execute("1"))["status"] == "ok"


def test_a_cell_that_is_interrupted_before_its_code_begins_is_answered(linked):
    gateway = linked().gateway()
    interrupted = "patch.object(get_ipython().kernel, 'do_execute', side_effect=KeyboardInterrupt)"
    ends = f"from unittest.mock import patch; {interrupted}.start()"
    assert gateway.reply_to(gateway.execute(ends))["status"] == "ok"
    assert gateway.reply_to(gateway.execute("1"))["ename"] == "NoReplyError"


def test_an_interrupt_reaches_a_cell_and_its_children(linked):
    gateway = linked().gateway()
    asked = gateway.execute("print('begun', flush=True); import subprocess; subprocess.run(['sleep', '600'])")
    gateway.until(lambda one: type_of(one) == "stream" and parent_of(one) == asked)
    assert gateway.command("interrupt") is None
    assert gateway.reply_to(asked)["ename"] == "KeyboardInterrupt"


def test_a_restart_keeps_the_process_that_gateways_are_connected_to(linked, tmp_path):
    kernel = linked()
    gateway = kernel.gateway()
    asked = gateway.execute("open('kept', 'w').write('kept'); value = 1; import os; print(os.getpid())")
    gateway.until(idle(asked))
    first = int(text_of(gateway.entries, asked))
    assert gateway.command("restart", life=1) is None
    assert gateway.phase("running")["life"] == 2
    gateway.ready()
    asked = gateway.execute("import os; print(os.getpid(), 'value' in globals(), open('kept').read())")
    gateway.until(idle(asked))
    second, value, kept = text_of(gateway.entries, asked).split()
    assert (value, kept) == ("False", "kept")
    assert int(second) != first
    assert not Path(f"/proc/{first}").exists()
    assert kernel.process.poll() is None


def test_a_restart_that_is_asked_for_twice_is_done_once(linked):
    gateway = linked().gateway()
    for _ in range(2):
        assert gateway.command("restart", life=1) is None
    assert gateway.phase("running")["life"] == 2
    gateway.ready()
    assert gateway.command("restart", life=1) is None
    asked = gateway.execute("1")
    assert gateway.reply_to(asked)["status"] == "ok"


def test_a_cell_that_ignores_everything_is_ended_by_a_restart(linked):
    gateway = linked().gateway()
    asked = gateway.execute(
        "import signal, time\nfor number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)\n"
        "print('begun', flush=True)\nwhile True: time.sleep(1)"
    )
    gateway.until(lambda one: type_of(one) == "stream" and parent_of(one) == asked)
    gateway.command("restart", life=1)
    gateway.phase("running")
    reply = gateway.reply_to(asked)
    assert reply["ename"] == "DeadKernelError"
    assert reply["evalue"] == "The kernel was restarted."


def test_a_death_answers_every_request_and_says_why(linked):
    kernel = linked()
    gateway = kernel.gateway()
    asked = gateway.execute(
        "print('last words', flush=True); import os, signal, time; time.sleep(0.5); os.kill(os.getpid(), signal.SIGKILL)"
    )
    waiting = gateway.execute("2")
    state = gateway.phase("exited")
    assert state["final"] is False
    assert state["cause"] == "The kernel was ended by SIGKILL."
    for msg_id in (asked, waiting):
        assert gateway.reply_to(msg_id)["evalue"] == state["cause"]
        gateway.until(idle(msg_id))
    assert text_of(gateway.entries, asked) == "last words\n"
    late = gateway.execute("3")
    assert gateway.reply_to(late)["ename"] == "DeadKernelError"
    assert gateway.command("restart", life=1, reason=state["cause"]) is None
    gateway.until(lambda one: type_of(one) == "status" and b'"restarting"' in one.parts[3])
    gateway.ready()
    again = gateway.execute("print('again')")
    gateway.until(idle(again))
    assert text_of(gateway.entries, again) == "again\n"


def test_sigterm_ends_the_kernel_and_then_the_supervisor_with_its_status(linked):
    kernel = linked()
    gateway = kernel.gateway()
    kernel.process.send_signal(signal.SIGTERM)
    assert gateway.phase("exited")["final"] is True
    assert kernel.process.wait(timeout=30) == 128 + signal.SIGTERM


def test_a_kernel_that_was_told_to_end_takes_the_supervisor_with_it(linked):
    kernel = linked()
    gateway = kernel.gateway()
    gateway.send("control", "shutdown_request", {"restart": False})
    assert gateway.phase("exited")["final"] is True
    assert kernel.process.wait(timeout=30) == 0


def test_a_gateway_that_takes_nothing_in_is_sent_a_bounded_part(linked):
    kernel = linked()
    gateway = kernel.gateway()
    other = kernel.gateway(replica="another")
    gateway.acknowledge()
    asked = gateway.execute("for _ in range(300): print('x' * 100_000, flush=True)", session="mine")
    other.take_in_until(idle(asked))
    while gateway.hears(Kind.ENTRY, seconds=1):
        pass
    received = sum(sum(map(len, one.parts)) for one in gateway.entries)
    assert received < 3 << 20
    # What was held back comes once it takes more in.
    gateway.acknowledge()
    if not any(map(idle(asked), gateway.entries)):
        gateway.take_in_until(idle(asked))
    assert [one.position for one in gateway.entries] == sorted(one.position for one in gateway.entries)


def test_what_the_bounds_drove_out_is_a_gap_and_replies_are_kept(linked):
    kernel = linked(memory=200_000, file=0)
    gateway = kernel.gateway()
    small = gateway.execute("1")
    gateway.until(idle(small))
    for _ in range(2):
        asked = gateway.execute("for _ in range(30): print('x' * 20_000, flush=True)")
        gateway.take_in_until(idle(asked))
        gateway.reply_to(asked)
    other = kernel.connect(replica="another")
    welcome = other.hello()
    items = other.page((0, 0), welcome["end"])
    gaps = [item for item in items if isinstance(item, Gap)]
    assert sum(gap.size for gap in gaps) > 500_000
    replies = [item for item in items if not isinstance(item, Gap) and item.channel == "shell"]
    assert {small, asked} <= {parent_of(one) for one in replies}


def test_what_is_more_than_memory_holds_comes_from_the_file(linked):
    kernel = linked(memory=100_000)
    gateway = kernel.gateway()
    asked = gateway.execute("for number in range(300): print(number, 'x' * 10_000, flush=True)")
    gateway.take_in_until(idle(asked))
    gateway.reply_to(asked)
    other = kernel.connect(replica="another")
    welcome, position, items = other.hello(), (0, 0), []
    while list(position) != welcome["end"]:
        page = other.page(position, welcome["end"])
        items += page
        last = page[-1]
        position = (last.position.number + 1, last.position.offset + sum(map(len, last.parts)))
    assert items == gateway.entries


def test_the_supervisor_is_small_and_at_rest_does_nothing(linked):
    kernel = linked()
    kernel.gateway()

    def spent():
        fields = Path(f"/proc/{kernel.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    try:
        status = Path(f"/proc/{kernel.process.pid}/smaps_rollup").read_text()
    except PermissionError:
        pytest.skip("only root may see what a supervisor uses, which keeps its own user out")
    private = sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("Private_"))
    assert private < 25 * 1024
    before = spent()
    time.sleep(1)
    assert spent() - before <= 1


def until_it_waits(end):
    if end.hello()["state"]["phase"] != "waiting":
        end.phase("waiting")


def test_a_kernel_that_waits_begins_with_its_claim_and_finds_what_it_brings(linked):
    kernel = linked(waits=True)
    end = kernel.connect()
    until_it_waits(end)
    assert end.command("restart", life=1) == "its pod hasn't been claimed"
    # More than a pipe holds.
    brought = {"KERNEL_ID": "k1", "MINE": "value", "LONG": "x" * 100_000}
    assert end.command("claim", kernel_id="k1", environment=brought) is None
    assert end.phase("running")["life"] == 1
    end.follow()
    end.ready()
    asked = end.execute("import os; print(os.environ['MINE'], len(os.environ['LONG']), os.environ['KERNEL_ID'])")
    end.until(idle(asked))
    assert text_of(end.entries, asked) == "value 100000 k1\n"


def test_a_claim_that_comes_twice_is_one_and_another_is_refused(linked):
    end = linked(waits=True).connect()
    end.hello()
    assert end.command("claim", kernel_id="k1", environment={}) is None
    assert end.command("claim", kernel_id="k1", environment={}) is None
    assert end.command("claim", kernel_id="k2", environment={}) == "its pod doesn't wait for a claim"


def test_a_claimed_kernel_that_is_restarted_finds_the_same_environment(linked):
    end = linked(waits=True).connect()
    end.hello()
    end.command("claim", kernel_id="k1", environment={"MINE": "value"})
    end.follow()
    end.ready()
    assert end.command("restart", life=1, now=True) is None
    end.phase("restarting")
    end.phase("running")
    end.ready()
    asked = end.execute("import os; print(os.environ['MINE'])")
    end.until(idle(asked))
    assert text_of(end.entries, asked) == "value\n"


def test_a_command_of_its_own_becomes_a_kernel_with_its_claim(linked, tmp_path):
    code = "import os, pathlib; pathlib.Path('seen').write_text(os.environ['MINE'] + ' ' + os.sys.argv[1])"
    kernel = linked(waits=True, command=("--", sys.executable, "-c", code, "{kernel_id}"))
    end = kernel.connect()
    until_it_waits(end)
    assert not (tmp_path / "seen").exists()
    end.command("claim", kernel_id="k1", environment={"MINE": "value", "KERNEL_ID": "k1"})
    end.phase("exited")
    assert (tmp_path / "seen").read_text() == "value k1"


def test_a_pod_that_is_told_to_end_while_it_waits_ends_at_once(linked):
    kernel = linked(waits=True)
    end = kernel.connect()
    until_it_waits(end)
    kernel.process.send_signal(signal.SIGTERM)
    kernel.process.wait(timeout=10)
