"""A gateway with a kernel whose pod is this machine, and servers at ports of it that answer what a test says."""

import contextlib
import socketserver
import threading
import uuid
from types import SimpleNamespace

import pytest

from enterprise_gateway.kernels.table import Entry
from enterprise_gateway.launch.proxy_ports import OpenPorts

SECRET = b"secret of the kernel"


class Port:
    """A server at a port; what it was asked is kept, and `answer` is called with the connection and the request's head."""

    def __init__(self, answer):
        self.asked = []
        self.failures = []
        kept = self

        class Handler(socketserver.StreamRequestHandler):
            timeout = 20

            def handle(self):
                lines = []
                while (line := self.rfile.readline()) not in (b"\r\n", b""):
                    lines.append(line.decode("latin1").strip())
                if not lines:
                    return
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
                body = self.rfile.read(int(headers.get("content-length", 0)))
                kept.asked.append(SimpleNamespace(line=lines[0], headers=headers, body=body))
                try:
                    answer(self.connection, headers)
                except OSError as error:
                    kept.failures.append(error)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.number = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def port():
    """Return a function that starts a server; it gets the bytes to answer, or a function that answers."""
    with contextlib.ExitStack() as stack:

        def start(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"):
            made = Port((lambda connection, _: connection.sendall(answer)) if isinstance(answer, bytes) else answer)
            stack.callback(made.close)
            return made

        yield start


@pytest.fixture
def kernel_with(gateway):
    """Return a function that makes a gateway and a kernel whose pod opens some ports."""
    with contextlib.ExitStack() as stack:

        def make(*ports, user="alice", state="idle", running=None, address="127.0.0.1", in_pod=True, **settings):
            running = running or gateway(**settings)
            kernels = running._gateway._parts.kernels

            async def add():
                kernelspec = await kernels._starts._catalogue.get("broken")
                kernel, lifecycle = kernels._starts._make_kernel(kernel_id=str(uuid.uuid4()), kernelspec=kernelspec, user=user)
                if in_pod:
                    kernel.manager.provisioner = SimpleNamespace(open_ports=OpenPorts(address, tuple(ports), SECRET))
                kernel.execution_state = state
                kernels.table.add(Entry(kernel, lifecycle))
                return kernel

            async def forget(kernel):
                kernels.table.forget(kernel)

            kernel = running.call(add())
            stack.callback(lambda: running.call(forget(kernel)))
            return SimpleNamespace(gateway=running, id=kernel.kernel_id, path=f"api/kernels/{kernel.kernel_id}/proxy")

        yield make
