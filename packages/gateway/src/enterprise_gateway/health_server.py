"""`/livez` from a thread of its own: a busy event loop neither delays the answer nor counts as dead.

A gateway under load has long turns of its event loop. A liveness probe that waits in the same queue as everything else
takes that for death, and the restart, which every client answers by connecting again, makes the load that it dies of.
"""

import asyncio
import threading
from collections.abc import Callable
from http import HTTPStatus

from tornado.web import Application, RequestHandler

from enterprise_gateway.event_loop import EventLoopMonitor
from enterprise_gateway.server import BoundedServer, PortUnavailableError, bind

__all__ = ["HealthServer"]

_MOST_CONNECTIONS = 64
_IDLE_SECONDS = 5.0
_HEADER_BYTES = 8192
_BODY_BYTES = 1024


class HealthServer:
    """Tells whether the gateway's event loop turns, whatever keeps it busy.

    Parameters
    ----------
    address, port, path
        Where to answer; port 0 lets the operating system choose.
    monitor
        Knows for how long the event loop hasn't turned.
    stall_limit
        Seconds for which it may not turn and the gateway still counts as alive.
    """

    def __init__(self, *, address: str, port: int, path: str, monitor: EventLoopMonitor, stall_limit: float) -> None:
        self._address = address
        self._asked_port = port
        self.port = port
        """The port that was bound."""
        self._path = path
        self._monitor = monitor
        self._stall_limit = stall_limit
        self._stop = asyncio.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Bind the port and answer from now on.

        Raises
        ------
        PortUnavailableError
            The port is taken.
        """
        try:
            self._sockets, self.port = bind(address=self._address, port=self._asked_port, retries=0)
        except PortUnavailableError as error:
            text = f"health_port: port {self._asked_port} is not available on {self._address}; choose another."
            raise PortUnavailableError(text) from error
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = BoundedServer(
            Application([(self._path, _LiveHandler, {"problem": self._problem})], log_function=lambda _: None),
            max_header_size=_HEADER_BYTES,
            max_body_size=_BODY_BYTES,
            body_timeout=_IDLE_SECONDS,
            idle_connection_timeout=_IDLE_SECONDS,
        )
        server.most_connections = lambda: _MOST_CONNECTIONS
        server.add_sockets(self._sockets)
        await self._stop.wait()
        server.stop()
        await server.close_all_connections()

    def _problem(self) -> str | None:
        seconds = self._monitor.stalled_seconds
        return f"the event loop hasn't turned for {seconds:.0f} s" if seconds > self._stall_limit else None

    def stop(self) -> None:
        """Answer no more; return when the thread has ended. Does nothing the second time."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join()


class _LiveHandler(RequestHandler):
    def initialize(self, *, problem: Callable[[], str | None]) -> None:
        self._problem = problem

    def set_default_headers(self) -> None:
        self.clear_header("Server")

    def get(self) -> None:
        """Answer 200 while the event loop turns, else 503."""
        problem = self._problem()
        if problem:
            self.set_status(HTTPStatus.SERVICE_UNAVAILABLE)
        self.finish({"status": "stalled" if problem else "alive", "problems": [problem] if problem else []})

    def head(self) -> None:
        """Answer as to GET, without a body."""
        self.get()
