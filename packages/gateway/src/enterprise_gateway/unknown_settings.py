"""Finds settings that nothing reads: a mistyped one would otherwise be a default, and an open gateway where it was a token.

The command line and configuration files may hold what other programs read: Jupyter's shared configuration file, and what
Enterprise Gateway's own sections held. Such a setting is told of and has no effect; one that looks like a setting of this
gateway, and whatever nobody knows on the command line, is an error.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple, Never

from traitlets.config import Config
from traitlets.config.loader import KVArgParseConfigLoader

__all__ = ["Findings", "KnownSettings", "StrictLoader", "nearest", "unknown_argument", "unknown_settings"]

_ALIKE = 0.8
_SEE_HELP = "; --help-all lists every setting"
_SHORT_ARGUMENT = re.compile(r"(?<!\S)--([\w-]+)(?=[\s=:]|$)")
# Sections of Enterprise Gateway and of the servers that it was built on, whose settings mean nothing here.
_OF_THE_ORIGINAL = frozenset(
    {
        "FileKernelSessionManager",
        "JupyterWebsocketPersonality",
        "KernelGatewayApp",
        "KernelSessionManager",
        "RemoteKernelManager",
        "RemoteKernelSpecManager",
        "WebhookKernelSessionManager",
    }
)


class KnownSettings(NamedTuple):
    """What can be set, and where."""

    section: str
    """The gateway's own section."""
    sections: Mapping[str, Collection[str]]
    """Section to every name that means something in it; the gateway's own and those that are older places."""
    aliases: Collection[str]
    """Short names of the command line."""
    others: Collection[str] = ()
    """Sections of parts that the administrator brings along, such as an authorizer."""


class Findings(NamedTuple):
    """What was found, one sentence each."""

    errors: list[str]
    warnings: list[str]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a question for the known name that looks like this one, or nothing where none does."""
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=_ALIKE)
    return f"; did you mean {by_lower[near[0]]}?" if near else ""


def unknown_settings(config: Config, known: KnownSettings, *, by_command_line: bool) -> Findings:
    """Return what of a configuration nothing reads."""
    found = Findings([], [])
    for section, values in config.items():
        if not isinstance(values, Config):
            continue
        if section in known.sections:
            for name in values:
                if name not in known.sections[section]:
                    _judge_name(section, name, known, found, by_command_line=by_command_line)
        elif section not in known.others and values:
            _judge_section(section, known, found, by_command_line=by_command_line)
    return found


def unknown_argument(name: str, known: KnownSettings) -> str:
    """Return what is wrong with a short argument that doesn't exist."""
    if name in known.sections[known.section]:
        return f"unknown argument --{name}; write --{known.section}.{name}"
    return f"unknown argument --{name}{nearest('--' + name, ('--' + alias for alias in known.aliases)) or _SEE_HELP}"


class StrictLoader(KVArgParseConfigLoader):
    """Reads a command line, and gives up at the first argument that nobody knows.

    Parameters
    ----------
    known
        What can be set.
    refuse
        Called with one sentence; doesn't return.
    """

    def __init__(self, *args: Any, known: KnownSettings, refuse: Callable[[str], Never], **kwargs: Any) -> None:  # noqa: ANN401  traitlets' own
        self._known, self._refuse = known, refuse
        super().__init__(*args, **kwargs)

    def _create_parser(self) -> None:
        super()._create_parser()
        # Its own lists the usage of a hundred options before it says what is wrong.
        self.parser.error = self._not_understood  # type: ignore[method-assign]  # traitlets gives no way to name a class

    def _not_understood(self, message: str) -> Never:
        named = _SHORT_ARGUMENT.search(message)
        if named and named[1] not in self._known.aliases:
            self._refuse(unknown_argument(named[1], self._known))
        self._refuse(message)

    def _handle_unrecognized_alias(self, arg: str) -> None:
        self._refuse(unknown_argument(arg, self._known))


def _judge_name(section: str, name: str, known: KnownSettings, found: Findings, *, by_command_line: bool) -> None:
    near = nearest(name, known.sections[section])
    own = section == known.section
    text = f"{section}.{name} is no setting of this gateway"
    if own or near:
        found.errors.append(text + (near or (_SEE_HELP if by_command_line else "")))
    else:
        # Sections that other programs have as well hold more than what is an older place here.
        found.warnings.append(f"{text} and has no effect.")


def _judge_section(section: str, known: KnownSettings, found: Findings, *, by_command_line: bool) -> None:
    if section in _OF_THE_ORIGINAL:
        found.warnings.append(f"Settings of {section} have no effect here.")
        return
    near = nearest(section, [known.section])
    if near or by_command_line:
        found.errors.append(f"there is no section {section}{near or _SEE_HELP}")
