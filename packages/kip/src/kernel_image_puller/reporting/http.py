"""The pages `/livez`, `/readyz`, `/healthz`, `/metrics` and `/status`, for probes, Prometheus and people.

Nothing here is secret and nothing here changes anything, so there is no login; everything is bounded, so that a slow or
hostile client can't hurt: eight connections at a time, one request for each, closed after five seconds whether the client
is silent or only slow. The ninth takes the place of the oldest, so that a probe is served whoever keeps the others.
"""

import contextlib
import http.server
import io
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from kernel_image_puller.logs import fields

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer  # pants: no-infer-dep  it exists for type checkers only

__all__ = ["Page", "PageServer"]

_LOGGER = logging.getLogger(__name__)
_MOST_CONNECTIONS = 8
_CONNECTION_SECONDS = 5.0
_PLACE_SECONDS = 1.0
_Request = socket.socket | tuple[bytes, socket.socket]


@dataclass(frozen=True)
class Page:
    """One answer."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK


class PageServer(http.server.ThreadingHTTPServer):
    """Serves pages that are made at the moment when they are asked for.

    Parameters
    ----------
    host
        The address to listen on.
    port
        The port; 0 takes a free one.
    pages
        Path to the function that makes the page.
    patience
        Seconds that a connection may take from its beginning to its end.
    """

    daemon_threads = True
    block_on_close = False
    # With the usual five, a probe among some clients that come at once would have to knock again a second later.
    request_queue_size = 64

    def __init__(
        self, *, host: str, port: int, pages: Mapping[str, Callable[[], Page]], patience: float = _CONNECTION_SECONDS
    ) -> None:
        self.pages = pages
        self.patience = patience
        self._stopping = False
        self._free = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self._lock = threading.Lock()
        self._served: dict[_Request, None] = {}
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def run(self) -> None:
        """Serve until `stop` is called, without waking up in between."""
        while not self._stopping:
            self.handle_request()

    def stop(self) -> None:
        """Let `run` return; connections that are being served end with the program."""
        self._stopping = True
        # Closing the socket would leave the other thread waiting on it; shutting it down wakes that thread.
        self.socket.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: _Request, client_address: Any) -> None:  # noqa: ANN401  the base class says so
        """Serve a connection in a thread of its own; if all are taken, the oldest connection has to go."""
        if not self._free.acquire(blocking=False):
            self._end_oldest()
            if not self._free.acquire(timeout=_PLACE_SECONDS):
                self.shutdown_request(request)
                return
        with self._lock:
            self._served[request] = None
        super().process_request(request, client_address)

    def process_request_thread(self, request: _Request, client_address: Any) -> None:  # noqa: ANN401  as above
        """Serve a connection, and give its place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._served.pop(request, None)
            self._free.release()

    def _end_oldest(self) -> None:
        with self._lock:
            oldest = next(iter(self._served), None)
            if oldest is not None:
                del self._served[oldest]
        if isinstance(oldest, socket.socket):
            # It may have ended by itself at this moment.
            with contextlib.suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what went wrong with one connection; the next one is served all the same."""
        del request
        # The base class calls this where the error is being handled.
        _LOGGER.warning("A page could not be served", exc_info=True, extra=fields(client=client_address))  # noqa: LOG014  as said


class _Deadline:
    """What is left of the time that one connection has."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self._end = time.monotonic() + seconds

    def limit_next_call(self) -> None:
        """Let the next call on the connection take no longer than what is left; raises `TimeoutError` if that is nothing."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for this connection is over")
        self._connection.settimeout(left)


class _Incoming(io.RawIOBase):
    """What a client sends. A limit for each read would let it send one byte now and then, for ever."""

    def __init__(self, connection: socket.socket, deadline: _Deadline) -> None:
        self._connection = connection
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        self._deadline.limit_next_call()
        return self._connection.recv_into(buffer)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: PageServer
    server_version = "kernel-image-puller"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self._deadline = _Deadline(self.connection, self.server.patience)
        self.rfile.close()
        self.rfile = io.BufferedReader(_Incoming(self.connection, self._deadline))

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *_arguments: object) -> None:
        """Log nothing: probes would fill the log."""

    def _answer(self, *, with_body: bool) -> None:
        make = self.server.pages.get(self.path.partition("?")[0])
        page = make() if make is not None else Page(b"not found\n", status=HTTPStatus.NOT_FOUND)
        try:
            self._deadline.limit_next_call()
            self.send_response(page.status)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(page.body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if with_body:
                self._deadline.limit_next_call()
                self.wfile.write(page.body)
        except (ConnectionError, TimeoutError):
            # The client has gone; there is nobody left to tell.
            self.close_connection = True
