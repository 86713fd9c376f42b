"""A kernel that speaks as much of Jupyter's protocol as listing and using it needs, in a tenth of a real one's memory.

`python -c SOURCE CONNECTION_FILE`: the source of this file is what runs in the pod, so it needs pyzmq and nothing else.
"""

import contextlib
import hashlib
import hmac
import io
import json
import sys
import uuid

import zmq

with open(sys.argv[1]) as file:  # noqa: PTH123 - as short as it gets
    CONNECTION = json.load(file)
CONTEXT = zmq.Context()
KEY = CONNECTION["key"].encode()
NAMESPACE: dict = {}


def bound(kind: int, name: str) -> zmq.Socket:
    socket = CONTEXT.socket(kind)
    socket.bind(f"tcp://{CONNECTION['ip']}:{CONNECTION[name + '_port']}")
    return socket


def send(socket: zmq.Socket, identities: list, parent: dict, msg_type: str, content: dict) -> None:
    header = {**parent, "msg_id": uuid.uuid4().hex, "msg_type": msg_type, "version": "5.3"}
    parts = [json.dumps(part).encode() for part in (header, parent, {}, content)]
    signature = hmac.new(KEY, b"".join(parts), hashlib.sha256).hexdigest().encode()
    socket.send_multipart([*identities, b"<IDS|MSG>", signature, *parts])


def answer(socket: zmq.Socket, iopub: zmq.Socket) -> None:
    frames = socket.recv_multipart()
    start = frames.index(b"<IDS|MSG>")
    identities, parent, content = frames[:start], json.loads(frames[start + 2]), json.loads(frames[start + 5])
    kind = parent["msg_type"].removesuffix("_request")
    send(iopub, [b"status"], parent, "status", {"execution_state": "busy"})
    reply = {"status": "ok", "protocol_version": "5.3", "execution_count": 1}
    if kind == "execute":
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(content["code"], NAMESPACE)  # noqa: S102 - that is what kernels do
        send(iopub, [b"stream"], parent, "stream", {"name": "stdout", "text": said.getvalue()})
    send(socket, identities, parent, f"{kind}_reply", reply)
    send(iopub, [b"status"], parent, "status", {"execution_state": "idle"})


def serve() -> None:
    iopub, sockets = bound(zmq.PUB, "iopub"), [bound(zmq.ROUTER, name) for name in ("shell", "control", "stdin")]
    heartbeat = bound(zmq.REP, "hb")
    poller = zmq.Poller()
    for socket in [*sockets, heartbeat]:
        poller.register(socket, zmq.POLLIN)
    while True:
        for socket, _ in poller.poll():
            if socket is heartbeat:
                heartbeat.send(heartbeat.recv())
            else:
                answer(socket, iopub)


if __name__ == "__main__":
    serve()
