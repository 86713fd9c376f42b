"""What reaches a kernel's environment, from four parties in a fixed order.

The gateway's own variables that an administrator lets through are the lowest; the kernelspec's come over them, the
client's over those, and what the gateway itself says of the kernel can't be changed by anyone. Nothing here reads a
process' environment or keeps a request's: every call makes a new mapping from what it is given.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template
from typing import TYPE_CHECKING

from enterprise_gateway.errors import BadRequest, LaunchFailed
from enterprise_gateway.launch.documents import DocumentError, read_document
from enterprise_gateway.launch.tokens import TokenError, TokenTable
from enterprise_gateway.launch.variables import DOCUMENT_VARIABLES, PREFIX

if TYPE_CHECKING:
    from enterprise_gateway.settings import GatewaySettings

__all__ = [
    "EnvironmentBounds",
    "EnvironmentRules",
    "accepted_environment",
    "acts_at_start",
    "environment_rules",
    "filled_environment",
    "inherited_environment",
]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
# Everything below the space but the tab, and DEL. A kernel's environment is read by shells, templates and logs of
# other people: no line ends and no terminal sequences get there from here.
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# In YAML line ends separate lines; they are gone when it has been read.
_CONTROL_CHARACTER_IN_DOCUMENT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

EVERY_NAME = "*"

# A client that could set these would choose what the kernel's image runs before the kernel does. An administrator may
# still name one of them in `client_envs`; the asterisk doesn't mean them.
_CHANGES_WHAT_RUNS = re.compile(
    r"LD_.*|DYLD_.*|PATH|PYTHON(PATH|HOME|STARTUP|INSPECT|USERBASE|BREAKPOINT|WARNINGS)|R_HOME|R_PROFILE.*|R_ENVIRON.*"
    r"|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|CLASSPATH|BASH_ENV|ENV|IFS|HOME|SHELL|KUBECONFIG|KUBERNETES_.*|EG_.*|JPY_.*"
    r"|(HTTPS?|ALL|NO)_PROXY|(https?|all|no)_proxy|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|NODE_OPTIONS|PERL5(LIB|OPT)|RUBY(LIB|OPT)"
)

# What programs look at before they do anything else, and what the launcher takes its options from.
_ACTS_AT_START = re.compile(
    r"LC_.*|LANG|LANGUAGE|TZ|TMPDIR|PWD|MALLOC_.*|GLIBC_TUNABLES|PYTHON.*|R_.*|JAVA_.*|SPARK_.*|TOREE_JAR|IPYTHON.*|IPYKERNEL_.*"
    r"|JUPYTER_.*|PYDEVD_.*|DEBUGPY_.*|ZMQ_.*|RESPONSE_ADDRESS|PUBLIC_KEY|PORT_RANGE"
    r"|KERNEL_(LANGUAGE|CLASS_NAME|SPARK_CONTEXT_INIT_MODE|CONNECTION_FILE|EXECUTOR_TEMPLATE)"
)

# The gateway says these of the kernel, so a client can't.
_OWNED_BY_GATEWAY = frozenset({"KERNEL_GATEWAY", "KERNEL_LANGUAGE", "KERNEL_NAME", "EG_IMPERSONATION_ENABLED"})

# What any program of this machine needs to run as it would from a shell; none of it can hold a secret of the gateway's.
BASE_NAMES = frozenset({"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL", "VIRTUAL_ENV"})
_LOCALE_PREFIX = "LC_"


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

    bounds: EnvironmentBounds
    client_envs: frozenset[str] = frozenset()
    inherited_envs: frozenset[str] = frozenset()
    prohibited_uids: frozenset[int] = frozenset()
    prohibited_gids: frozenset[int] = frozenset()
    impersonation_enabled: bool = False

    @property
    def said_by_gateway(self) -> dict[str, str]:
        """What a gateway says to all of its kernels."""
        return {"KERNEL_GATEWAY": "1", "EG_IMPERSONATION_ENABLED": str(self.impersonation_enabled)}


def environment_rules(settings: "GatewaySettings") -> EnvironmentRules:
    """Return what the settings let into kernels.

    Raises
    ------
    ValueError
        A list of ids holds something else.
    """
    return EnvironmentRules(
        client_envs=settings.client_envs,
        inherited_envs=settings.inherited_envs,
        prohibited_uids=_ids("prohibited_uids", settings.prohibited_uids),
        prohibited_gids=_ids("prohibited_gids", settings.prohibited_gids),
        impersonation_enabled=settings.impersonation_enabled,
        bounds=EnvironmentBounds(
            count=settings.max_env_count, value_size=settings.max_env_value_size, total_size=settings.max_env_size
        ),
    )


def _ids(name: str, written: tuple[str, ...]) -> frozenset[int]:
    if not all(number.isascii() and number.isdigit() for number in written):
        raise ValueError(f"{name}: write whole numbers separated by commas.")
    return frozenset(map(int, written))


# ----------------------------------------------------------------------------------------------------------- the client


def accepted_environment(env: Mapping[str, str], rules: EnvironmentRules) -> dict[str, str]:
    """Return the part of a request's `env` that reaches the kernel; names that aren't let through are dropped silently.

    Raises
    ------
    BadRequest
        A name or value can't be an environment variable, or there is too much of it. The text names the variable,
        never its value.
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
    if name in DOCUMENT_VARIABLES:
        if _CONTROL_CHARACTER_IN_DOCUMENT.search(value):
            raise BadRequest(f"env: the value of {name} has a control character that is no line end, which isn't accepted.")
    elif _CONTROL_CHARACTER.search(value):
        raise BadRequest(f"env: the value of {name} has a control character (a line end is one), which isn't accepted.")


def _passes(name: str, client_envs: frozenset[str]) -> bool:
    if name in _OWNED_BY_GATEWAY:
        return False
    if name.startswith(PREFIX) or name in client_envs:
        return True
    return EVERY_NAME in client_envs and not _CHANGES_WHAT_RUNS.fullmatch(name)


def acts_at_start(name: str) -> bool:
    """Tell whether a variable may take effect before a kernel's program has begun, so that it can't be given to one that has."""
    return bool(_ACTS_AT_START.fullmatch(name) or _CHANGES_WHAT_RUNS.fullmatch(name))


# ------------------------------------------------------------------------------------------ the gateway, the kernelspec


def inherited_environment(gateway: Mapping[str, str], rules: EnvironmentRules, *, on_this_machine: bool) -> dict[str, str]:
    """Return what a kernel gets of the gateway's own environment: what the administrator names, and nothing else in a pod.

    Parameters
    ----------
    on_this_machine
        Whether the kernel is a process beside the gateway, which needs this machine's PATH and HOME; elsewhere its image
        has its own.
    """
    return {
        name: value
        for name, value in gateway.items()
        if name in rules.inherited_envs or (on_this_machine and (name in BASE_NAMES or name.startswith(_LOCALE_PREFIX)))
    }


@dataclass(frozen=True, kw_only=True)
class FilledEnvironment:
    """A kernelspec's `env` with its placeholders filled in."""

    values: Mapping[str, str] = field(default_factory=dict)
    used: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """For each name the variables that were filled into its value."""


def filled_environment(kernelspec: Mapping[str, str], known: Mapping[str, str]) -> FilledEnvironment:
    """Return a kernelspec's `env`, with `${NAME}` and `$NAME` replaced where the variable is known.

    In the two variables that are YAML a value can change only the text in which its placeholder stands, as in a pod's
    template: whoever chooses it can't add to the document.

    Raises
    ------
    LaunchFailed
        One of the two isn't YAML.
    """
    values: dict[str, str] = {}
    used: dict[str, frozenset[str]] = {}
    for name, text in kernelspec.items():
        named = {match.group("named") or match.group("braced") for match in Template.pattern.finditer(text)}
        used[name] = frozenset(named & known.keys())
        if name in DOCUMENT_VARIABLES and used[name]:
            values[name] = _filled_document(name, text, {each: known[each] for each in used[name]})
        else:
            values[name] = Template(text).safe_substitute(known)
    return FilledEnvironment(values=values, used=used)


def _filled_document(name: str, text: str, known: Mapping[str, str]) -> str:
    table = TokenTable()
    tokens = {each: table.issue(value) for each, value in known.items()}
    try:
        return json.dumps(table.replace(read_document(Template(text).safe_substitute(tokens))), ensure_ascii=False)
    except (DocumentError, TokenError, TypeError) as error:
        words = "it holds what JSON can't" if isinstance(error, TypeError) else str(error)
        raise LaunchFailed(f"The kernelspec's env can't be used: {name} can't be read: {words}.") from error
