"""Certificates for one test: an authority, a server of this machine and a client, both signed by it."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["TlsFiles", "make_tls_files"]

_LOOPBACK = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """PEM files: the authority's certificate, and certificate and key of each end."""

    authority: Path
    server: tuple[Path, Path]
    client: tuple[Path, Path]


def make_tls_files(folder: Path) -> TlsFiles:
    """Write an authority and what it signed into a folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("test authority")
    basic = x509.BasicConstraints(ca=True, path_length=0)
    authority = _builder(name, name, key).add_extension(basic, critical=True).sign(key, hashes.SHA256())
    path = folder / "authority.pem"
    path.write_bytes(authority.public_bytes(serialization.Encoding.PEM))

    def signed(who: str) -> tuple[Path, Path]:
        own = ec.generate_private_key(ec.SECP256R1())
        certificate = _builder(_name(who), name, own).add_extension(_LOOPBACK, critical=False).sign(key, hashes.SHA256())
        files = folder / f"{who}.pem", folder / f"{who}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        files[1].write_bytes(own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
        return files

    return TlsFiles(authority=path, server=signed("server"), client=signed("client"))


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - dt.timedelta(minutes=1),
        not_valid_after=now + dt.timedelta(days=1),
    )
