"""What the command line shows of a gateway that listens: from where, and how, it can be used."""

__all__ = ["jupyterlab_command", "welcome"]

_EVERY_ADDRESS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  compared, not bound


def jupyterlab_command(url: str, *, token_needed: bool = False) -> str:
    """Return the line that starts JupyterLab with kernels of the gateway."""
    return f"jupyter lab --gateway-url={url}" + (" --GatewayClient.auth_token=<token>" if token_needed else "")


def welcome(*, version: str, url: str, ip: str, loopback: bool, hostname: str, token_needed: bool) -> str:
    """Return the lines for a terminal; each is true from where it says that it is.

    Parameters
    ----------
    url
        Where this machine reaches the gateway.
    ip
        The address that it listens on.
    loopback
        Whether only this machine reaches that address.
    """
    here = jupyterlab_command(url, token_needed=token_needed)
    if loopback:
        where = [
            f"Use it from JupyterLab on this machine: {here}",
            "Other machines can't reach it; --ip=0.0.0.0 lets them, and EG_AUTH_TOKEN says with which token.",
        ]
    elif ip in _EVERY_ADDRESS:
        elsewhere = jupyterlab_command(url.replace("//127.0.0.1:", f"//{hostname}:"), token_needed=token_needed)
        where = [
            f"Use it from JupyterLab on this machine: {here}",
            f"and on another one, by a name or address of this machine: {elsewhere}",
        ]
    else:
        where = [f"Use it from JupyterLab on this or another machine: {here}"]
    return "\n".join([f"Enterprise Gateway {version} listens at {url}", *where, ""])
