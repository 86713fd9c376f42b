import datetime as dt
import socket
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from enterprise_gateway.server import PortUnavailableError, TlsError, bind, tls_context
from enterprise_gateway.settings import GatewaySettings


@pytest.fixture
def taken():
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def certificate(tmp_path):
    """Files with a key and a certificate that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "tls.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "tls.key").write_bytes(private)
    return {"certfile": str(tmp_path / "tls.crt"), "keyfile": str(tmp_path / "tls.key")}


def close(sockets):
    for one in sockets:
        one.close()


# tornado leaves a socket that it couldn't bind to the garbage collector.
unbound_socket = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")


@unbound_socket
def test_a_taken_port_gives_another_one_near_it(taken):
    sockets, port = bind(address="127.0.0.1", port=taken, retries=50)
    close(sockets)
    assert port != taken
    assert abs(port - taken) <= 100


@unbound_socket
def test_a_taken_port_is_an_error_without_retries(taken):
    with pytest.raises(PortUnavailableError, match=f"Port {taken} is not available on 127.0.0.1"):
        bind(address="127.0.0.1", port=taken, retries=0)


def test_port_zero_is_the_operating_systems_choice():
    sockets, port = bind(address="127.0.0.1", port=0, retries=0)
    close(sockets)
    assert port > 0


def test_an_address_that_is_none_is_said():
    with pytest.raises(PortUnavailableError, match="no-such-host"):
        bind(address="no-such-host.invalid", port=0, retries=5)


def test_without_a_certificate_there_is_no_tls():
    assert tls_context(GatewaySettings()) is None


def test_tls_is_served_from_version_1_2_on(certificate):
    assert tls_context(GatewaySettings(**certificate)).minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("version", ["TLSv1_3", "5"])
def test_the_oldest_version_may_be_chosen_as_older_deployments_write_it(certificate, version):
    assert tls_context(GatewaySettings(**certificate, ssl_version=version)).minimum_version >= ssl.TLSVersion.TLSv1_2


def test_with_client_authorities_a_client_needs_a_certificate(certificate):
    context = tls_context(GatewaySettings(**certificate, client_ca=certificate["certfile"]))
    assert context.verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    "settings",
    [{"keyfile": "x"}, {"client_ca": "x"}, {"certfile": "no-such-file"}, {"ssl_version": "SSLv3"}],
)
def test_tls_settings_that_cannot_be_used_are_refused(certificate, settings):
    complete = certificate if "ssl_version" in settings else {}
    with pytest.raises(TlsError):
        tls_context(GatewaySettings(**{**complete, **settings}))
