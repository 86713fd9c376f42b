"""Where the gateway listens, and how."""

from dataclasses import dataclass

from enterprise_gateway_common.environment import boolean, integer, optional, setting, text

__all__ = ["NetworkSettings"]

_NETWORK = "Network"


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Where the gateway listens, and how."""

    ip: str = setting(
        "127.0.0.1",
        text,
        environment=("EG_IP", "KG_IP"),
        group=_NETWORK,
        help="Address to listen on; 0.0.0.0 for every address of this machine.",
    )
    port: int = setting(
        8888,
        integer(0, 65535),
        environment=("EG_PORT", "KG_PORT"),
        group=_NETWORK,
        help="Port to listen on; 0 lets the operating system choose.",
    )
    port_retries: int = setting(
        50,
        integer(0, 1000),
        environment=("EG_PORT_RETRIES", "KG_PORT_RETRIES"),
        group=_NETWORK,
        help="How many other ports to try when the port is taken; 0 makes a taken port an error.",
    )
    base_url: str = setting(
        "/",
        text,
        environment=("EG_BASE_URL", "KG_BASE_URL"),
        group=_NETWORK,
        help="Path below which everything is served, kernelspec resources too.",
    )
    trust_xheaders: bool = setting(
        False,
        boolean,
        environment=("EG_TRUST_XHEADERS", "KG_TRUST_XHEADERS"),
        group=_NETWORK,
        help="Take the client's address and protocol from X-Real-IP, X-Forwarded-For and X-Forwarded-Proto; only behind a "
        "proxy that sets them.",
    )
    certfile: str | None = setting(
        None,
        optional(text),
        environment=("EG_CERTFILE", "KG_CERTFILE"),
        group=_NETWORK,
        help="PEM file with the certificate (and its chain) to serve TLS with.",
    )
    keyfile: str | None = setting(
        None,
        optional(text),
        environment=("EG_KEYFILE", "KG_KEYFILE"),
        group=_NETWORK,
        help="PEM file with the certificate's private key.",
    )
    client_ca: str | None = setting(
        None,
        optional(text),
        environment=("EG_CLIENT_CA", "KG_CLIENT_CA"),
        group=_NETWORK,
        help="PEM file with the authorities whose client certificates are accepted; a client without one is then refused.",
    )
    ssl_version: str | None = setting(
        None,
        optional(text),
        environment=("EG_SSL_VERSION", "KG_SSL_VERSION"),
        group=_NETWORK,
        help="The oldest TLS version to accept, TLSv1_2 or TLSv1_3 (older deployments write a number of Python's ssl "
        "module, 5 for TLSv1_2). TLSv1_2 where nothing is set.",
    )
