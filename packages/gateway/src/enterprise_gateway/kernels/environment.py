"""What a kernel finds in its environment, from four parties in a fixed order.

The gateway's own variables that an administrator lets through are the lowest; the kernelspec's come over them, the
client's over those, and what the gateway itself says of the kernel can't be changed by anyone. Nothing here reads a
process' environment or keeps a request's: every call makes a new mapping from what it is given.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Template

from enterprise_gateway.errors import BadRequest, Forbidden

__all__ = ["EnvironmentBounds", "EnvironmentRules", "kernel_environment", "launch_timeout", "requested_environment"]

_KERNEL_PREFIX = "KERNEL_"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
# Everything below the space but the tab, and DEL. A kernel's environment is read by shells, templates and logs of
# other people: no line ends and no terminal sequences get there from here.
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

EVERY_NAME = "*"

# A client that could set these would choose what the kernel's image runs before the kernel does. An administrator may
# still name one of them in `client_envs`; the asterisk doesn't mean them.
_CHANGES_WHAT_RUNS = re.compile(
    r"LD_.*|DYLD_.*|PATH|PYTHON(PATH|HOME|STARTUP|INSPECT|USERBASE|BREAKPOINT|WARNINGS)|R_HOME|R_PROFILE.*|R_ENVIRON.*"
    r"|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|CLASSPATH|BASH_ENV|ENV|IFS|HOME|SHELL|KUBECONFIG|KUBERNETES_.*|EG_.*|JPY_.*"
    r"|(HTTPS?|ALL|NO)_PROXY|(https?|all|no)_proxy|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|NODE_OPTIONS|PERL5(LIB|OPT)|RUBY(LIB|OPT)"
)

# The gateway says these of the kernel, so a client can't.
_OWNED_BY_GATEWAY = frozenset({"KERNEL_GATEWAY", "KERNEL_LANGUAGE", "EG_IMPERSONATION_ENABLED"})

# What any program of this machine needs to run as it would from a shell; none of it can hold a secret of the gateway's.
BASE_NAMES = frozenset({"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL", "VIRTUAL_ENV"})
_LOCALE_PREFIX = "LC_"

_LARGEST_ID = 2**32 - 1


@dataclass(frozen=True, kw_only=True)
class EnvironmentBounds:
    """How much a client may put into a kernel's environment."""

    count: int
    value_size: int
    """Bytes of one value in UTF-8."""
    total_size: int
    """Bytes of all names and values in UTF-8."""


@dataclass(frozen=True, kw_only=True)
class EnvironmentRules:
    """What an administrator lets into kernels."""

    client_envs: frozenset[str]
    inherited_envs: frozenset[str]
    prohibited_uids: frozenset[int]
    prohibited_gids: frozenset[int]
    impersonation_enabled: bool
    bounds: EnvironmentBounds


def requested_environment(env: Mapping[str, str], rules: EnvironmentRules) -> dict[str, str]:
    """Return the part of a request's `env` that reaches the kernel; names that aren't let through are dropped silently.

    Raises
    ------
    BadRequest
        A name or value can't be an environment variable, or there is too much of it. The text names the variable,
        never its value.
    Forbidden
        KERNEL_UID or KERNEL_GID is no number or a prohibited one.
    """
    bounds = rules.bounds
    if len(env) > bounds.count:
        raise BadRequest(f"env has {len(env)} variables; at most {bounds.count} are accepted.")
    total = 0
    accepted = {}
    for name, value in env.items():
        _check_variable(name, value, bounds)
        total += len(name) + len(value.encode())
        if _passes(name, rules.client_envs):
            accepted[name] = value
    if total > bounds.total_size:
        raise BadRequest(f"env has {total} bytes; at most {bounds.total_size} are accepted.")
    for name, prohibited in (("KERNEL_UID", rules.prohibited_uids), ("KERNEL_GID", rules.prohibited_gids)):
        if name in accepted:
            accepted[name] = _checked_id(name, accepted[name], prohibited)
    return accepted


def _check_variable(name: str, value: str, bounds: EnvironmentBounds) -> None:
    if not _NAME.fullmatch(name):
        shown = name[:64].encode("unicode_escape").decode()
        raise BadRequest(f"env: '{shown}' can't be the name of an environment variable.")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise BadRequest(f"env: the value of {name} has a character that UTF-8 can't represent.") from error
    if size > bounds.value_size:
        raise BadRequest(f"env: the value of {name} has {size} bytes; at most {bounds.value_size} are accepted.")
    if _CONTROL_CHARACTER.search(value):
        raise BadRequest(f"env: the value of {name} has a control character (a line end is one), which isn't accepted.")


def _passes(name: str, client_envs: frozenset[str]) -> bool:
    if name in _OWNED_BY_GATEWAY:
        return False
    if name.startswith(_KERNEL_PREFIX) or name in client_envs:
        return True
    return EVERY_NAME in client_envs and not _CHANGES_WHAT_RUNS.fullmatch(name)


def _checked_id(name: str, value: str, prohibited: frozenset[int]) -> str:
    # Digits only: int() would also take "+0", " 0", "0_0" and the digits of every other script.
    if not (value.isascii() and value.isdigit()) or int(value) > _LARGEST_ID:
        raise Forbidden(f"{name} must be a whole number from 0 to {_LARGEST_ID}.")
    if int(value) in prohibited:
        raise Forbidden(f"Kernels may not run with {name} {int(value)}; ask the administrator which ids are allowed.")
    return str(int(value))


def launch_timeout(requested: Mapping[str, str], *, default: float, maximum: float) -> float:
    """Return the seconds within which a start must be over: what KERNEL_LAUNCH_TIMEOUT asks for, from 1 to `maximum`.

    Raises
    ------
    BadRequest
        It isn't a positive number.
    """
    raw = requested.get("KERNEL_LAUNCH_TIMEOUT")
    if raw is None:
        return default
    try:
        seconds = float(raw)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise BadRequest("KERNEL_LAUNCH_TIMEOUT must be a positive number of seconds.")
    return min(max(seconds, 1.0), maximum)


def kernel_environment(
    *,
    requested: Mapping[str, str],
    kernelspec: Mapping[str, str],
    gateway: Mapping[str, str],
    facts: Mapping[str, str],
    rules: EnvironmentRules,
    on_this_machine: bool = True,
) -> dict[str, str]:
    """Return the whole environment of one kernel.

    Parameters
    ----------
    requested
        What `requested_environment` accepted of the client's.
    kernelspec
        `env` of the kernel.json; `${NAME}` in a value stands for a variable of the request or an inherited one.
    gateway
        The gateway's own environment, of which only the base and the inherited names are taken.
    facts
        What the gateway says of this kernel (KERNEL_ID, KERNEL_USERNAME, …); nobody overrides it.
    on_this_machine
        Whether the kernel is a process beside the gateway, which needs this machine's PATH and HOME; elsewhere its image
        has its own.
    """
    inherited = {
        name: value
        for name, value in gateway.items()
        if name in rules.inherited_envs or (on_this_machine and (name in BASE_NAMES or name.startswith(_LOCALE_PREFIX)))
    }
    known = {**inherited, **requested}
    from_kernelspec = {name: Template(value).safe_substitute(known) for name, value in kernelspec.items()}
    said_by_gateway = {"KERNEL_GATEWAY": "1", "EG_IMPERSONATION_ENABLED": str(rules.impersonation_enabled)}
    return {**inherited, **from_kernelspec, **requested, **said_by_gateway, **facts}
