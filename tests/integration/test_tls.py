"""What clients meet at a gateway that serves TLS and asks them for a certificate."""

from __future__ import annotations

import dataclasses
import ssl
from typing import TYPE_CHECKING

import pytest
import requests
import websocket
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.tls import TlsFiles, make_tls_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.servers import Server


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls_files(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls_server(own_server: Callable[..., Server], tls: TlsFiles) -> Iterator[Server]:
    return own_server(tls=tls)


@pytest.mark.usefixtures("_ours")
def test_a_cell_runs_over_an_encrypted_websocket(tls_server: Server, protocol: str) -> None:
    kernel_id = tls_server.start_kernel()
    with KernelSocket(tls_server, kernel_id, protocol=protocol) as client:
        assert tls_server.websocket_url.startswith("wss:")
        assert text_of(client.run("print('x' * 3_000_000)")) == "x" * 3_000_000 + "\n"


@pytest.mark.usefixtures("_ours")
def test_a_client_without_certificate_reaches_neither_rest_nor_websocket(tls_server: Server, tls: TlsFiles) -> None:
    with pytest.raises((requests.exceptions.SSLError, requests.exceptions.ConnectionError)):
        requests.get(f"{tls_server.url}/api", verify=str(tls.authority), headers=tls_server.headers, timeout=10)
    with pytest.raises((ssl.SSLError, OSError, websocket.WebSocketException)):
        websocket.create_connection(
            f"{tls_server.websocket_url}/api/kernels/{'0' * 8}-0000-4000-8000-{'0' * 12}/channels",
            sslopt={"ca_certs": str(tls.authority)},
            timeout=10,
        )


@pytest.mark.usefixtures("_ours")
def test_plain_http_is_not_answered_there(tls_server: Server) -> None:
    with pytest.raises(requests.exceptions.ConnectionError):
        dataclasses.replace(tls_server, tls=None).request("GET", "/livez", timeout=10)
