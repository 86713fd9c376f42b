"""The command line: options from the settings' declarations, signals, and the way out."""

import argparse
import itertools
import logging
import os
import queue
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enterprise_gateway_common.environment import (
    SettingDeclaration,
    SettingError,
    declarations,
    parse,
    read_environment,
    unknown_names,
)
from kernel_image_puller import __version__
from kernel_image_puller.errors import ConfigurationError
from kernel_image_puller.logs import configure_logging, fields
from kernel_image_puller.settings import Settings
from kernel_image_puller.signals import deliver_signals
from kernel_image_puller.wanted import PullPolicy

if TYPE_CHECKING:
    from kernel_image_puller.threads import Inbox

__all__ = ["load_settings", "main", "make_parser"]

_LOGGER = logging.getLogger(__name__)
_BAD_CONFIGURATION = 2
_DESCRIPTION = """Has the images of kernelspecs on this node before a kernel asks for them.

  kernel-image-puller                          runs until it is stopped
  kernel-image-puller --once --images python:3.11
                                               pulls what is missing, shows how it goes, exits by the result
  kernel-image-puller check                    shows what it would pull and what is here, and pulls nothing
"""
_EPILOG = """Every option can be given in the environment by the name in brackets; the command line wins.
Exit status: 0 all well, 1 an image or a part of the program failed, 2 a setting can't be used."""

_INDENT = " " * 24


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, with one option for every setting."""
    parser = argparse.ArgumentParser(
        prog="kernel-image-puller",
        # One option for each of forty settings would hide what there is to do.
        usage="%(prog)s [run | check | write-noop PATH] [--once] [--SETTING VALUE ...]",
        description=_DESCRIPTION,
        epilog=f"{_only_in_the_environment()}\n{_EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "command", nargs="?", choices=("run", "check", "write-noop"), default="run", help="what to do; run, if not said"
    )
    parser.add_argument("path", nargs="?", help="for write-noop: where to write the program that does nothing")
    parser.add_argument("--once", action="store_true", help="do one round and exit by its result")
    parser.add_argument("--version", action="version", version=f"kernel-image-puller {__version__}")
    # A secret in a command line can be read by every process of the machine.
    public = [declaration for declaration in declarations(Settings) if not declaration.secret]
    for group, members in itertools.groupby(public, key=lambda declaration: declaration.group):
        section = parser.add_argument_group(group)
        for declaration in members:
            section.add_argument(_option(declaration), dest=declaration.name, metavar="VALUE", help=_help(declaration))
    return parser


def load_settings(arguments: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """Return the settings and what is to be said about them.

    Raises
    ------
    SettingError
        A value can't be used; the text names the setting.
    """
    read = read_environment(Settings, environment)
    values = dict(read.values)
    for declaration in declarations(Settings):
        raw = arguments.get(declaration.name)
        if raw is not None:
            values[declaration.name] = parse(declaration, raw, source=_option(declaration))
    warnings = [*read.warnings, *unknown_names(Settings, environment, prefix="KIP_")]
    policy = values.get("pull_policy", Settings.pull_policy)
    if policy not in tuple(PullPolicy):
        warnings.append(f"KIP_PULL_POLICY: {policy!r} is neither IfNotPresent nor Always; IfNotPresent is used.")
        values["pull_policy"] = PullPolicy.IF_NOT_PRESENT.value
    settings = Settings(**values)
    if not settings.validate_cert and settings.gateway_host.startswith("https"):
        warnings.append("KIP_VALIDATE_CERT is off: whoever answers for the gateway decides which images this node pulls.")
    return settings, warnings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the program ends with what this returns, whatever its threads still wait for."""
    arguments = vars(make_parser().parse_args(argv))
    environment = dict(os.environ)
    try:
        if arguments["command"] == "write-noop":
            return _write_noop(arguments["path"])
        settings, warnings = load_settings(arguments, environment)
        watched = arguments["once"] or arguments["command"] == "check"
        # Whoever watches sees the same on the screen; only what is not shown there is logged.
        level = "ERROR" if watched and settings.log_level == Settings.log_level else settings.log_level
        configure_logging(level=level, json_lines=settings.log_format == "json")
        for warning in warnings:
            _LOGGER.warning(warning)
        status = _run(arguments, settings, environment)
    except (SettingError, ConfigurationError) as error:
        sys.stderr.write(f"kernel-image-puller: {error}\n")
        return _BAD_CONFIGURATION
    logging.shutdown()
    sys.stdout.flush()
    # A thread that waits for a runtime or a registry must not keep the program, nor its libraries from being taken apart.
    os._exit(status)


def _run(arguments: Mapping[str, Any], settings: Settings, environment: Mapping[str, str]) -> int:
    if arguments["command"] == "check":
        from kernel_image_puller.check import run_check

        return run_check(settings, environment)
    inbox: Inbox = queue.SimpleQueue()
    deliver_signals(inbox)
    if arguments["once"]:
        from kernel_image_puller.once import run_once

        return run_once(settings, environment, inbox)
    from kernel_image_puller.daemon import run_daemon

    status = run_daemon(settings, environment, inbox)
    _LOGGER.info("Stopped", extra=fields(status=status))
    return status


def _write_noop(path: str | None) -> int:
    from kernel_image_puller.runtimes.noop import write_noop

    if not path:
        raise ConfigurationError("write-noop needs a path")
    write_noop(Path(path))
    return 0


def _only_in_the_environment() -> str:
    """Return the section of the settings that have no option, in the form of the others."""
    lines = ["Only in the environment, because every process of the machine can read a command line:"]
    for declaration in declarations(Settings):
        if declaration.secret:
            text = f"{declaration.help} [{_facts(declaration)}]"
            lines += [
                f"  {declaration.environment[0]}",
                *textwrap.wrap(text, 78, initial_indent=_INDENT, subsequent_indent=_INDENT),
            ]
    return "\n".join([*lines, ""])


def _option(declaration: SettingDeclaration) -> str:
    return "--" + declaration.name.replace("_", "-")


def _help(declaration: SettingDeclaration) -> str:
    text = f"{declaration.help} [{', '.join(declaration.environment)}; {_facts(declaration)}]"
    return text.replace("%", "%%")


def _facts(declaration: SettingDeclaration) -> str:
    default = declaration.default
    shown = ",".join(default) if isinstance(default, tuple) else default
    return f"{declaration.kind.description}; " + (f"default {shown}" if shown not in ("", None) else "not set by default")
