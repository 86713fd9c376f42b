"""The command line: settings from arguments, configuration files and the environment, then one gateway that runs."""

import asyncio
import getpass
import logging
import os
import signal
import socket
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Never

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.application import JupyterApp, base_aliases, base_flags
from traitlets import Enum, TraitError
from traitlets.config import Config, catch_config_error
from traitlets.config.loader import DeferredConfigString

from enterprise_gateway import __version__
from enterprise_gateway.gateway import Gateway
from enterprise_gateway.log import configure
from enterprise_gateway.outputs_command import outputs
from enterprise_gateway.server import PortUnavailableError, TlsError
from enterprise_gateway.settings import ACCEPTED_WITHOUT_EFFECT, GatewaySettings
from enterprise_gateway.settings.older_places import OLDER_PLACES
from enterprise_gateway.settings_traits import settings_traits
from enterprise_gateway.unknown_settings import KnownSettings, StrictLoader, unknown_settings
from enterprise_gateway.welcome import welcome
from enterprise_gateway.wiring import build_gateway
from enterprise_gateway_common.environment import SettingError, declarations, read_environment, unknown_names

__all__ = ["EnterpriseGatewayApp", "main"]

_log = logging.getLogger(__name__)

_SECTION = "EnterpriseGatewayApp"
_INTERRUPTED = 128 + signal.SIGINT
_UNKNOWN = 2
_LOG_LEVEL = "EG_LOG_LEVEL"
_SHOWN_INSTEAD_OF_A_SECRET = "********"  # noqa: S105  it hides one


class EnterpriseGatewayApp(settings_traits(GatewaySettings), JupyterApp):  # type: ignore[misc]  # a class that is made of the declarations
    """Starts Jupyter kernels in a cluster or on this machine and carries their messages."""

    name = "jupyter-enterprise-gateway"
    version = __version__
    description = """
        Serves Jupyter's kernel protocol over HTTP and websockets, and runs each kernel where its kernelspec says: as a
        pod of a Kubernetes cluster, or as a process of this machine.

        Every setting below can be given as --EnterpriseGatewayApp.<setting>=<value>, in jupyter_enterprise_gateway_config.py,
        or by the environment variable that stands with it; the first of these wins.
    """
    examples = """
        jupyter enterprisegateway --EnterpriseGatewayApp.list_kernels=True      # what JupyterLab needs
        jupyter lab --gateway-url=http://127.0.0.1:8888                         # in another terminal
        EG_AUTH_TOKEN=... jupyter enterprisegateway --ip=0.0.0.0 --port=9000
        jupyter enterprisegateway --generate-config                             # a file with every setting
        jupyter enterprisegateway outputs KERNEL_ID > missed.ipynb              # what a running kernel ran; see outputs --help
    """
    _running = False
    # Jupyter's own help names another default than it has, and `WARNING`, which everybody writes, isn't among its words.
    log_level = Enum(
        (0, 10, 20, 30, 40, 50, "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL"),
        default_value="INFO",
        help=f"The least level of the events that are logged. Environment: {_LOG_LEVEL}.",
    ).tag(config=True)
    flags = {**base_flags, "debug": ({_SECTION: {"log_level": logging.DEBUG}}, base_flags["debug"][1])}  # noqa: RUF012  as below
    aliases = {  # noqa: RUF012  the base class' type
        **base_aliases,
        "log-level": f"{_SECTION}.log_level",
        "ip": f"{_SECTION}.ip",
        "port": f"{_SECTION}.port",
        "port_retries": f"{_SECTION}.port_retries",
        "keyfile": f"{_SECTION}.keyfile",
        "certfile": f"{_SECTION}.certfile",
        "client-ca": f"{_SECTION}.client_ca",
        "ssl_version": f"{_SECTION}.ssl_version",
    }

    @catch_config_error
    def initialize(self, argv: Sequence[str] | None = None) -> None:
        """Read every setting; end the process with one line where one can't be used."""
        self._warnings: list[str] = []
        self._argv = argv
        # Otherwise a file with a mistake is left out with a warning, and with it the token that it sets.
        self.raise_config_file_errors = True
        try:
            super().initialize(argv)
        except TraitError:
            raise
        except Exception as error:  # a configuration file is a program and may raise anything
            raise TraitError(f"A configuration file can't be used: {type(error).__name__}: {error}") from error
        self._stamps = self._stamps_now()
        if self._dispatching:
            return
        if self.extra_args:
            self._refuse(f"unexpected argument {self.extra_args[0]!r}: a setting begins with --")
        # traitlets goes on without a file that doesn't exist, and so without the token that stands in it.
        if self.config_file and not any(Path(self.config_file).with_suffix(kind).is_file() for kind in (".py", ".json")):
            raise TraitError(f"--config: there is no file {self.config_file}")
        # Before the environment is put where the files' settings are.
        said = self._said(self.config)
        self._use_environment(os.environ, said=said)
        self._use_older_places(said=said)
        level: Any = self.log_level
        configure(level=logging.getLevelNamesMapping().get(level, level), style=self.log_style)
        # jupyter_client writes to the application's log. What it has to say reaches clients and the log by our own
        # events, with the kernel's id; its own are for who debugs it.
        self.log = logging.getLogger("jupyter_client")

    # -------------------------------------------------------------------------------------------------- what nothing reads

    def _create_loader(self, argv: Any, aliases: Any, flags: Any, classes: Any) -> StrictLoader:  # noqa: ANN401  traitlets' types
        known, refuse = self._known_settings(Config()), self._refuse
        return StrictLoader(argv, aliases, flags, classes=classes, log=self.log, known=known, refuse=refuse)

    def _classes_inc_parents(self, classes: Any = None) -> Generator[Any, None, None]:  # noqa: ANN401  traitlets' types
        # Help and --generate-config list a setting once, where it is this program's: its parents have other defaults.
        yield from classes or (type(self),)

    def update_config(self, config: Config) -> None:
        """Take over a configuration, of whatever source; end the process where something of it looks like a mistyped setting."""
        found = unknown_settings(config, self._known_settings(config), by_command_line=config == self.cli_config)
        if found.errors:
            self._refuse(found.errors[0])
        # The same configuration comes here more than once, so that the command line's wins over that of files.
        self._warnings += [warning for warning in found.warnings if warning not in self._warnings]
        super().update_config(config)

    def _known_settings(self, config: Config) -> KnownSettings:
        own = set(self.trait_names(config=True))
        sections = dict.fromkeys((_SECTION, "JupyterApp", "Application"), own)
        sections["KernelSpecManager"] = set(KernelSpecManager.class_trait_names(config=True))
        for section, name in OLDER_PLACES:
            sections[section] = {*sections.get(section, ()), name}
        authorizer = str(config[_SECTION].get("authorizer_class", "")) if _SECTION in config else ""
        return KnownSettings(_SECTION, sections, [*self.aliases, *self.flags], (authorizer.rpartition(".")[2],))

    def _refuse(self, text: str) -> Never:
        if self._running:
            _log.error(text)
        else:
            sys.stderr.write(f"{self.name}: {text}\n")
        raise SystemExit(_UNKNOWN)

    @staticmethod
    def _said(config: Config) -> set[str]:
        return {name for section in (_SECTION, "JupyterApp", "Application") for name in config.get(section, {})}

    def _use_environment(self, environment: Mapping[str, str], *, said: set[str]) -> None:
        try:
            values, warnings = read_environment(GatewaySettings, environment)
        except SettingError as error:
            raise TraitError(str(error)) from None
        # A variable that kernels are to inherit may have any name.
        others = frozenset({_LOG_LEVEL, *values.get("inherited_envs", ())})
        self._warnings += [*warnings, *unknown_names(GatewaySettings, environment, prefix="EG_", others=others)]
        if level := environment.get(_LOG_LEVEL):
            values["log_level"] = int(level) if level.isdecimal() else level.upper()
        # Only what neither a configuration file nor the command line says. Put in before those are read it would count
        # as said by the command line, because the base class takes all that is there by then for its own.
        self.update_config(Config({_SECTION: {name: value for name, value in values.items() if name not in said}}))

    def _use_older_places(self, *, said: set[str]) -> None:
        """Take over what stands in older places, unless the setting itself was said by a source that ranks as high."""
        said_by_command_line = self._said(self.cli_config)

        def from_command_line(section: str, trait: str) -> bool:
            return trait in self.cli_config.get(section, {})

        written = [place for place in OLDER_PLACES if place[1] in self.config.get(place[0], {})]
        # The command line's come last, so that of two older places of one setting its own wins.
        for section, trait in sorted(written, key=lambda place: from_command_line(*place)):
            setting, older = OLDER_PLACES[section, trait], f"{section}.{trait} is an older place of {_SECTION}"
            if setting in (said_by_command_line if from_command_line(section, trait) else said):
                self._warnings.append(f"{older}.{setting}, which is set as well and wins.")
                continue
            value = self.config[section][trait]
            # From the command line comes a text that waits for its trait, from a file the value itself.
            setattr(self, setting, str(value) if isinstance(value, DeferredConfigString) else value)
            self._warnings.append(f"{older}.{setting} and still works.")

    def settings(self) -> GatewaySettings:
        """Return the settings as they were read."""
        return GatewaySettings(
            **{declaration.name: getattr(self, declaration.name) for declaration in declarations(GatewaySettings)}
        )

    def start(self) -> None:
        """Run the gateway until it is told to stop."""
        super().start()
        for warning in self._warnings:
            _log.warning(warning)
        settings = self.settings()
        for declaration in declarations(GatewaySettings):
            if declaration.group == ACCEPTED_WITHOUT_EFFECT and getattr(settings, declaration.name) != declaration.default:
                _log.warning("A setting is accepted and has no effect", extra={"setting": declaration.name})
        try:
            asyncio.run(self._serve(settings))
        except (PortUnavailableError, TlsError, SettingError, OSError, ValueError) as error:
            _log.debug("Start failed", exc_info=True)
            self.exit(f"{self.name}: {error}")

    async def _serve(self, settings: GatewaySettings) -> None:
        gateway = build_gateway(settings, environment=dict(os.environ), default_user=_default_user(), parent=self)
        await gateway.start()
        if settings.log_style == "text":
            _say_where(gateway, settings)
        gateway.follow_configuration(self.changed_settings, settings.dynamic_config_interval)
        await gateway.run_until_signal()

    def changed_settings(self) -> GatewaySettings | None:
        """Return the settings anew when a configuration file has changed, else `None`; also when it can't be used now."""
        stamps = self._stamps_now()
        if stamps == self._stamps:
            return None
        self._stamps = stamps
        # Everything anew: a line that was taken out of a file must have an effect as well.
        fresh = type(self)()
        fresh.log = self.log
        fresh._running = True  # noqa: SLF001  it is of this class
        try:
            fresh.initialize(self._argv)
        except SystemExit:
            # How traitlets says that something can't be used, after a line about it. At the start that is the end; here
            # it would end every user's kernel.
            _log.error("The changed configuration can't be used; what was read before stays in force")
            return None
        return fresh.settings()

    def _stamps_now(self) -> dict[str, float]:
        return {file: _stamp(file) for file in self.loaded_config_files}

    def exit(self, exit_status: int | str | None = 0) -> None:
        """End the process; a text is the reason, for standard error."""
        sys.exit(exit_status)

    def start_show_config(self) -> None:
        """Show the configuration that is in force, without its secrets."""
        for declaration in declarations(GatewaySettings):
            if declaration.secret and declaration.name in self.config[_SECTION]:
                self.config[_SECTION][declaration.name] = _SHOWN_INSTEAD_OF_A_SECRET
        super().start_show_config()


def _stamp(file: str) -> float:
    try:
        return Path(file).stat().st_mtime
    except OSError:
        return 0.0


def _default_user() -> str:
    user = getpass.getuser()
    return "anonymous" if user == "root" else user


def _say_where(gateway: Gateway, settings: GatewaySettings) -> None:
    sys.stdout.write(
        welcome(
            version=__version__,
            url=gateway.url,
            ip=settings.ip,
            loopback=gateway.for_this_machine,
            hostname=socket.gethostname(),
            token_needed=gateway.token_needed,
        )
    )
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> None:
    """Run `jupyter enterprisegateway`, or `jupyter enterprisegateway outputs`."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] == ["outputs"]:
        sys.exit(outputs(arguments[1:], os.environ))
    try:
        EnterpriseGatewayApp.launch_instance(argv)
    except KeyboardInterrupt:
        # Before it serves there is nothing to end in order; from then on the gateway takes the signal itself.
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
