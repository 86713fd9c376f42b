"""A gateway's end of the supervisor's protocol, and supervised kernels to speak with."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

import zmq

from enterprise_gateway_common.connection import SupervisorSettings, connection_file
from enterprise_gateway_common.message_log import START
from enterprise_gateway_common.supervisor_protocol import Kind, decode, decode_entries, decode_page, encode
from kernel_launchers.link.messages import Signer

__all__ = ["GATEWAY", "KEY", "SERVER", "GatewayEnd", "SupervisedKernel", "curve_pair", "parent_of", "text_of", "type_of"]

_INHERITED = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
KEY = "a-key-of-the-tests"
_SECONDS = 30


def curve_pair() -> tuple[str, str]:
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


SERVER, GATEWAY = curve_pair(), curve_pair()


class GatewayEnd:
    """One connection of a replica to a supervisor."""

    def __init__(self, port: int, *, keys: tuple[str, str] = GATEWAY, server: str = SERVER[0], replica: str = "replica") -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.curve_publickey, self.socket.curve_secretkey = (key.encode() for key in keys)
        self.socket.curve_serverkey = server.encode()
        self.socket.connect(f"tcp://127.0.0.1:{port}")
        self.replica = replica
        self.entries = []
        self._arrived = []
        self._states = []  # heard, and not looked at by `phase` yet
        self._sent = 0

    def close(self):
        self._context.destroy(linger=0)

    def say(self, kind, fields, parts=()):
        self.socket.send_multipart(encode(kind, fields, parts))

    def hear(self, *kinds, seconds=_SECONDS):
        """Return the fields and parts of the next message of some kinds; entries of the log are kept."""
        deadline = time.monotonic() + seconds
        while True:
            while self._arrived:
                self.entries.append(self._arrived.pop(0))
                if Kind.ENTRY in kinds:
                    return Kind.ENTRY, self.entries[-1], ()
            left = deadline - time.monotonic()
            if left <= 0 or not self.socket.poll(int(left * 1000)):
                raise TimeoutError(f"none of {kinds} within {seconds} s")
            frames = self.socket.recv_multipart()
            if frames[0] == Kind.ENTRY:
                self._arrived += decode_entries(frames)
                continue
            kind, fields, parts = decode(frames)
            if kind is Kind.STATE:
                self._states.append(fields)
            if kind in kinds:
                return kind, fields, parts

    def hears(self, *kinds, seconds):
        """Tell whether a message of some kinds comes within a time."""
        try:
            self.hear(*kinds, seconds=seconds)
        except TimeoutError:
            return False
        return True

    def hello(self):
        self.say(Kind.HELLO, {"versions": [1], "replica": self.replica})
        return self.hear(Kind.WELCOME)[1]

    def follow(self, position=START):
        self.say(Kind.FOLLOW, {"position": position})

    def acknowledge(self):
        last = self.entries[-1]
        self.say(Kind.ACKNOWLEDGE, {"offset": last.position.offset + sum(map(len, last.parts))})

    def until(self, wanted, *, seconds=_SECONDS):
        """Return the first entry that is wanted, heard already or yet to come."""
        seen = 0
        deadline = time.monotonic() + seconds
        while True:
            for entry in self.entries[seen:]:
                seen += 1
                if wanted(entry):
                    return entry
            self.hear(Kind.ENTRY, seconds=max(0.0, deadline - time.monotonic()))

    def take_in_until(self, wanted):
        """Hear and acknowledge entries until one is wanted."""
        unacknowledged = 0
        while True:
            kind, heard, _ = self.hear(Kind.ENTRY, Kind.SKIPPED)
            if kind is Kind.SKIPPED:
                self.say(Kind.ACKNOWLEDGE, {"offset": heard["to"][1]})
                continue
            unacknowledged += sum(map(len, heard.parts))
            if unacknowledged > 100_000:
                self.acknowledge()
                unacknowledged = 0
            if wanted(self.entries[-1]):
                return

    def send(self, channel, kind, content, *, session="a-session", msg_id=None, metadata=None):
        """Send a client's message; return its id."""
        self._sent += 1
        signer = Signer(key=KEY, session=session)
        parts = signer.make(kind, content)
        if msg_id is not None:
            parts[0] = json.dumps({**json.loads(parts[0]), "msg_id": msg_id}).encode()
        if metadata is not None:
            parts[2] = json.dumps(metadata).encode()
        fields = {"channel": channel, "session": session, "number": self._sent}
        self.say(Kind.SEND, fields, signer.sign(parts))
        return json.loads(parts[0])["msg_id"]

    def execute(self, code, **how):
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": True}
        return self.send("shell", "execute_request", {**content, "stop_on_error": True}, **how)

    def reply_to(self, msg_id):
        entry = self.until(lambda one: one.channel in {"shell", "control"} and parent_of(one) == msg_id)
        return json.loads(entry.parts[3])

    def ready(self):
        """Return when the kernel answers and its output arrives."""
        asked = set()
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            asked.add(self.send("shell", "kernel_info_request", {}))
            try:
                self.until(lambda one: one.channel == "iopub" and parent_of(one) in asked, seconds=1)
            except TimeoutError:
                continue
            self.until(lambda one: one.channel == "shell" and parent_of(one) in asked)
            return self
        raise TimeoutError(f"the kernel didn't answer within {_SECONDS} s")

    def command(self, name, **fields):
        self.say(Kind.COMMAND, {"id": 1, "name": name, **fields})
        return self.hear(Kind.DONE)[1]["error"]

    def page(self, position, before, *, size=1 << 20):
        self.say(Kind.READ, {"id": 1, "position": position, "before": before, "bytes": size})
        _, fields, parts = self.hear(Kind.PAGE)
        return decode_page(fields, parts)

    def phase(self, wanted):
        """Return the first state with a phase that wasn't asked for before, heard already or yet to come."""
        while True:
            while self._states:
                state = self._states.pop(0)
                if state["phase"] == wanted:
                    return state
            self.hear(Kind.STATE)


def _free_port():
    """Return a port that is free and stays so: below those that the system gives to outgoing connections."""
    while True:
        with socket.socket() as holder:
            try:
                holder.bind(("127.0.0.1", random.randrange(20_000, 32_000)))  # noqa: S311 - a port is no secret
            except OSError:
                continue
            return holder.getsockname()[1]


def parent_of(entry):
    return json.loads(entry.parts[1]).get("msg_id", "")


def type_of(entry):
    return json.loads(entry.parts[0])["msg_type"]


def text_of(entries, msg_id):
    """Return what a request printed."""
    return "".join(json.loads(one.parts[3])["text"] for one in entries if type_of(one) == "stream" and parent_of(one) == msg_id)


class SupervisedKernel:
    """A launcher whose kernel is an IPython kernel, and the port that it listens on."""

    def __init__(self, folder, *, memory=8 << 20, file=16 << 20, messages=10_000, environment=None, command=(), waits=False):
        self.port = _free_port()
        settings = SupervisorSettings(self.port, *SERVER, GATEWAY[0], memory, file, messages, waits_for_claim=waits)
        path = folder / "connection.json"
        path.write_text(connection_file(key=KEY, kernel_name="", supervisor=settings))
        self.log = (folder / "log").open("w+")
        # Without coverage's hook, which would take longer than the launcher itself.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kernel_launchers", str(path), *command],
            env={**_INHERITED, "TMPDIR": str(folder), "IPYTHONDIR": str(folder / "ipython"), **(environment or {})},
            cwd=folder,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._ends = []

    def wait_until_it_listens(self):
        """Return when something can connect, for what doesn't try again by itself."""
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def connect(self, **how):
        self._ends.append(GatewayEnd(self.port, **how))
        return self._ends[-1]

    def gateway(self, **how):
        """Return a gateway that follows the log of a kernel that answers."""
        end = self.connect(**how)
        end.hello()
        end.follow()
        return end.ready()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def output(self):
        self.log.seek(0)
        return self.log.read()

    def close(self):
        for end in self._ends:
            end.close()
        with self.log:
            if self.process.poll() is None:
                self.process.terminate()
                try:
                    self.process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
                    raise
