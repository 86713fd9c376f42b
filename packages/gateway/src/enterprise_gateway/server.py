"""Listening: a free port, TLS where it is configured, and the bounds on what a connection may send."""

import errno
import logging
import random
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets
from tornado.web import Application

from enterprise_gateway.settings import GatewaySettings

__all__ = ["BoundedServer", "PortUnavailableError", "TlsError", "bind", "make_server", "tls_context"]

_log = logging.getLogger(__name__)

_CONSECUTIVE_PORTS = 5
_HIGHEST_PORT = 65535
# Taken, or not for everybody; whatever else is wrong lies with the address.
_OTHER_PORTS_MAY_DO = frozenset({errno.EADDRINUSE, errno.EACCES})
_UNREAD_BODY_FACTOR = 100
# What EG_SSL_VERSION may say: the name of the oldest version, or the number of Python's constant for it.
_TLS_VERSIONS = {
    "TLSv1_2": ssl.TLSVersion.TLSv1_2,
    "PROTOCOL_TLSv1_2": ssl.TLSVersion.TLSv1_2,
    "5": ssl.TLSVersion.TLSv1_2,
    "2": ssl.TLSVersion.TLSv1_2,
    "TLSv1_3": ssl.TLSVersion.TLSv1_3,
}


class PortUnavailableError(OSError):
    """No port could be bound; the text names those that were tried."""


class TlsError(ValueError):
    """The TLS settings don't fit together or name files that can't be used."""


def bind(*, address: str, port: int, retries: int) -> tuple[list[socket.socket], int]:
    """Return listening sockets and their port: the one that is asked for, or another when it is taken.

    Raises
    ------
    PortUnavailableError
        None of the ports that were tried is free, or the address isn't one of this machine.
    """
    for candidate in _candidates(port, retries):
        try:
            sockets = bind_sockets(candidate, address)
        except OSError as error:
            if error.errno not in _OTHER_PORTS_MAY_DO:
                raise PortUnavailableError(f"The address {address} can't be listened on: {error.strerror}.") from error
            _log.debug("Port is not available", extra={"port": candidate, "cause": error.strerror})
            continue
        return sockets, sockets[0].getsockname()[1]
    tried = f"and {retries} others near it are" if retries else "is"
    raise PortUnavailableError(f"Port {port} {tried} not available on {address}. Choose another with --port.")


def _candidates(port: int, retries: int) -> Iterator[int]:
    yield port
    for offset in range(1, min(retries, _CONSECUTIVE_PORTS) + 1):
        yield min(port + offset, _HIGHEST_PORT)
    spread = 2 * max(retries, 1)
    for _ in range(retries - _CONSECUTIVE_PORTS):
        yield max(1, min(_HIGHEST_PORT, port + random.randint(-spread, spread)))  # noqa: S311  any free port will do


def tls_context(settings: GatewaySettings) -> ssl.SSLContext | None:
    """Return what TLS is served with, or `None` where none is configured.

    Raises
    ------
    TlsError
        The settings don't fit together or name files that can't be used.
    """
    if not settings.certfile:
        if settings.keyfile or settings.client_ca:
            raise TlsError("keyfile and client_ca need a certfile.")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    version = settings.ssl_version or "TLSv1_2"
    if version not in _TLS_VERSIONS:
        raise TlsError(f"ssl_version: write TLSv1_2 or TLSv1_3, not {version!r}.")
    context.minimum_version = _TLS_VERSIONS[version]
    try:
        context.load_cert_chain(settings.certfile, settings.keyfile)
        if settings.client_ca:
            context.load_verify_locations(settings.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"certfile, keyfile or client_ca can't be used: {error.strerror or error}.") from error
    return context


class BoundedServer(HTTPServer):
    """Closes connections beyond a bound at once, so that nobody can take the descriptors that all others need."""

    most_connections: Callable[[], int]
    """The bound, which may change; set before the server listens."""
    _open = 0
    _full = False

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Serve a connection, or close it."""
        if self._open >= self.most_connections():
            if not self._full:
                _log.warning("Connections are refused: too many are open", extra={"open": self._open})
            self._full = True
            stream.close()
            return
        self._full = False
        self._open += 1
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        """Count one less; one that became a websocket is no connection of this kind any more."""
        self._open -= 1
        super().on_close(server_conn)


def make_server(
    application: Application,
    settings: GatewaySettings,
    context: ssl.SSLContext | None,
    *,
    most_connections: Callable[[], int],
) -> HTTPServer:
    """Return a server that isn't listening yet."""
    server = BoundedServer(
        application,
        ssl_options=context,
        xheaders=settings.trust_xheaders,
        max_header_size=settings.max_header_size,
        # The handlers bound bodies themselves, with an answer in JSON, and keep nothing beyond their bound. This one only
        # ends a connection whose client goes on sending all the same.
        max_body_size=settings.max_body_size * _UNREAD_BODY_FACTOR,
        body_timeout=settings.request_timeout,
        idle_connection_timeout=settings.idle_connection_timeout,
    )
    server.most_connections = most_connections
    return server
