"""The options of `launch-kernel`: from the command line, else from the environment of the pod.

Older images and kernelspecs write `--RemoteProcessProxy.kernel-id`; every option is also known in that form.
"""

import argparse
from typing import List, Mapping, NamedTuple, NoReturn, Optional, Sequence, Tuple

from enterprise_gateway_common.connection import CONNECTION_FILE_VARIABLE
from kernel_launchers._version import __version__
from kernel_launchers.errors import InvalidOptions

__all__ = ["Options", "PortRange", "read_options"]

LANGUAGES = ("python", "r", "scala")
SPARK_MODES = ("none", "lazy", "eager")
CLUSTER_TYPES = ("none", "spark", "dask")
DEFAULT_KERNEL_CLASS = "ipykernel.ipkernel.IPythonKernel"

_LOWEST_PORT, _HIGHEST_PORT = 1024, 65535
_OLDER_PREFIX = "--RemoteProcessProxy."

PortRange = Tuple[int, int]


# A dataclass would add a tenth to the time that the launcher takes to start the kernel.
class Options(NamedTuple):
    """What a kernel is started with."""

    language: str
    connection_file: Optional[str]
    """The mounted or given connection file; `None` where the kernel chooses its ports and tells the gateway."""
    kernel_id: str
    response_address: Optional[str]
    public_key: str
    port_range: PortRange
    spark_mode: str
    cluster_type: str
    kernel_class: str
    kernelspec: str
    """A kernelspec of the image, by its name or folder, in place of a language; empty where none is named."""
    command: Tuple[str, ...]
    """The kernel's own command, in place of a language; empty where none is given."""
    termination_grace: Optional[float]
    """Seconds that a kernel has for its end after SIGTERM; `None` for all that the pod has."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidOptions(message)


def read_options(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Return the options of a start.

    Raises
    ------
    InvalidOptions
        One is unknown, has a value that it can't have, or there is no way to a connection.
    """
    own, command = _split(arguments)
    given = _parser().parse_args(own)
    if command and given.kernelspec:
        raise InvalidOptions("--kernelspec and a command after -- exclude each other")

    def value(name: str, *variables: str, default: str = "") -> str:
        written: Optional[str] = getattr(given, name)
        if written:
            return written
        return next((environment[variable] for variable in variables if environment.get(variable)), default)

    mode = _word(
        "--spark-context-initialization-mode", value("spark_mode", "KERNEL_SPARK_CONTEXT_INIT_MODE", default="none"), SPARK_MODES
    )
    cluster = value("cluster_type", default="none" if mode == "none" else "spark")
    response_address = value("response_address", "RESPONSE_ADDRESS", "EG_RESPONSE_ADDRESS")
    connection_file = given.connection_file or (None if response_address else environment.get(CONNECTION_FILE_VARIABLE))
    if not connection_file and not response_address:
        raise InvalidOptions(
            f"there is neither a connection file ({CONNECTION_FILE_VARIABLE}) nor a gateway to tell one to (--response-address)"
        )
    kernel_id = value("kernel_id", "KERNEL_ID")
    if response_address and not kernel_id:
        raise InvalidOptions("--response-address needs --kernel-id")
    language = value("language", "KERNEL_LANGUAGE", default="python").lower()
    return Options(
        # A kernel that is started by a command of its own may be of any language.
        language=language if command or given.kernelspec else _word("--language", language, LANGUAGES),
        connection_file=connection_file,
        kernel_id=kernel_id,
        response_address=response_address or None,
        public_key=value("public_key", "PUBLIC_KEY", "EG_PUBLIC_KEY"),
        port_range=_port_range(value("port_range", "PORT_RANGE", "EG_PORT_RANGE", default="0..0")),
        spark_mode=mode,
        cluster_type=_word("--cluster-type", cluster, CLUSTER_TYPES),
        kernel_class=value("kernel_class", "KERNEL_CLASS_NAME", default=DEFAULT_KERNEL_CLASS),
        kernelspec=given.kernelspec or "",
        command=command,
        termination_grace=_seconds("--termination-grace", given.termination_grace),
    )


def _split(arguments: Sequence[str]) -> Tuple[List[str], Tuple[str, ...]]:
    """Return the launcher's own arguments, and the kernel's command, which stands after `--`."""
    if "--" not in arguments:
        return list(arguments), ()
    place = list(arguments).index("--")
    if place == len(arguments) - 1:
        raise InvalidOptions("there is no command after --")
    return list(arguments[:place]), tuple(arguments[place + 1 :])


def _parser() -> _Parser:
    parser = _Parser(
        prog="launch-kernel",
        usage="launch-kernel [OPTION...] [connection_file] [-- COMMAND...]",
        description="Supervise a Jupyter kernel inside its pod: of a language, of a kernelspec of the image, or any COMMAND. "
        "{connection_file} in a command stands for the path of the connection file.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"launch-kernel {__version__}")
    parser.add_argument("connection_file", nargs="?", help="connection file; the one of the pod's Secret where none is given")

    def option(name: str, destination: str, text: str) -> None:
        parser.add_argument(f"--{name}", _OLDER_PREFIX + name, dest=destination, default=None, help=text)

    option("language", "language", "python, r or scala; KERNEL_LANGUAGE where none is given")
    option("kernel-id", "kernel_id", "the kernel's id")
    option("port-range", "port_range", "lowest..highest port to listen on when the kernel chooses its own; 0..0 for any")
    option("response-address", "response_address", "ip:port of a gateway that waits to be told the connection")
    option("public-key", "public_key", "the key to encrypt the connection for that gateway with")
    option("spark-context-initialization-mode", "spark_mode", "none, lazy or eager")
    option("kernel-class-name", "kernel_class", "class of the IPython kernel")
    option("cluster-type", "cluster_type", "none, spark or dask")
    option("kernelspec", "kernelspec", "name or folder of a kernelspec in the image, whose command is the kernel's")
    option(
        "termination-grace", "termination_grace", "seconds from SIGTERM to SIGKILL; without it only the pod's own grace counts"
    )
    return parser


def _word(name: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise InvalidOptions(f"{name} must be one of {', '.join(known)}")
    return value


def _seconds(name: str, text: Optional[str]) -> Optional[float]:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise InvalidOptions(f"{name} must be a number of seconds")
    return float(text)


def _port_range(text: str) -> PortRange:
    parts: List[str] = text.split("..")
    if len(parts) != len(("lowest", "highest")) or not all(part.isascii() and part.isdigit() for part in parts):
        raise InvalidOptions("--port-range must be lowest..highest, as in 40000..50000")
    lowest, highest = int(parts[0]), int(parts[1])
    if (lowest, highest) != (0, 0) and not _LOWEST_PORT <= lowest <= highest <= _HIGHEST_PORT:
        raise InvalidOptions(f"--port-range must lie between {_LOWEST_PORT} and {_HIGHEST_PORT}")
    return lowest, highest
