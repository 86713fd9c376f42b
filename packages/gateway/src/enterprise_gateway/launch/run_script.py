"""Older Spark kernelspecs, whose `bin/run.sh` submits the kernel from the gateway's machine, as starts in client mode.

Such a script is on the gateway's machine and not in the kernel's image, and here nothing is submitted: the kernel is the
driver, in a pod that the gateway makes. What the script was told is passed to this project's launcher instead, as far as
it means something there: the mode of the session in `argv` or LAUNCH_OPTS, and SPARK_OPTS, which the launcher reads.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from enterprise_gateway.errors import NotSupported

__all__ = ["ClientMode", "check_runs_in_image", "client_mode", "runs_script_of_the_kernelspec"]

# A script in the kernelspec's own folder.
_SCRIPT = re.compile(r"((^|/)kernels/[^/]+|^\{resource_dir\})/bin/run\.sh$")
_OLDER_PREFIX = "RemoteProcessProxy."
_LANGUAGE = "python"
# Where the script found Spark on the gateway's machine; the kernel's image says itself where its own is.
_HOME_OF_THE_SCRIPT = "SPARK_HOME"
_PASSED_ON = ("spark-context-initialization-mode", "cluster-type", "kernel-class-name")
# How a kernel comes to its connection is the gateway's to say.
_DROPPED = frozenset({"kernel-id", "port-range", "response-address", "public-key"})
_MASTERS = re.compile(r"k8s://|local(\[|$)")


class ClientMode(NamedTuple):
    """How a kernel is started as the driver that it is."""

    argv: Sequence[str]
    environment: Mapping[str, str]


class _NotTaken(ValueError):
    """What the script does can't be done in client mode; the text says why."""


def runs_script_of_the_kernelspec(argv: Sequence[str]) -> bool:
    """Tell whether a command is a script of its kernelspec, as those of older Spark kernelspecs are."""
    return any(_SCRIPT.search(argument) for argument in argv)


def client_mode(argv: Sequence[str], environment: Mapping[str, str]) -> ClientMode:
    """Return what does for an older Spark kernelspec what its script does; any other command as it is.

    One that can't be taken also comes back as it is: a template may have a command of its own, and then it doesn't matter.

    Parameters
    ----------
    environment
        The kernel's, with the kernelspec's SPARK_OPTS and LAUNCH_OPTS in it.
    """
    if not runs_script_of_the_kernelspec(argv):
        return ClientMode(argv, environment)
    try:
        taken = _taken(argv, environment)
    except _NotTaken:
        return ClientMode(argv, environment)
    return ClientMode(taken, {name: value for name, value in environment.items() if name != _HOME_OF_THE_SCRIPT})


def check_runs_in_image(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Return when a command can be one of the kernel's image.

    Raises
    ------
    NotSupported
        It is a script that submits the kernel to Spark from the gateway's machine, in a way that client mode can't.
    """
    if not runs_script_of_the_kernelspec(command):
        return
    try:
        _taken(command, environment)
        why = "it isn't alone there"
    except _NotTaken as error:
        why = str(error)
    raise NotSupported(
        "The kernelspec's argv names its bin/run.sh, which submits the kernel to Spark from the gateway's machine, and that "
        f"can't be turned into a start in the cluster: {why}. Name the command of the kernel's image in argv, such as "
        "`launch-kernel --spark-context-initialization-mode lazy`, or leave argv empty to run the image's own."
    )


def _taken(argv: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    if environment.get("KERNEL_LANGUAGE", _LANGUAGE).lower() != _LANGUAGE:
        raise _NotTaken("kernelspecs of other languages than Python are written for launchers that aren't here")
    if "SPARK_OPTS" not in environment:
        raise _NotTaken("its env has no SPARK_OPTS, so it is another script than Enterprise Gateway's")
    _check_master(_words("SPARK_OPTS", environment))
    place = next(number for number, argument in enumerate(argv) if _SCRIPT.search(argument))
    # In the script's own order: of an option that stands in both the last one counts.
    options = dict(_options([*_words("LAUNCH_OPTS", environment), *argv[place + 1 :]]))
    passed_on = [word for name in _PASSED_ON if name in options for word in (f"--{name}", options[name])]
    return ["launch-kernel", "--kernel-id", "{kernel_id}", *passed_on]


def _words(variable: str, environment: Mapping[str, str]) -> list[str]:
    try:
        return shlex.split(environment.get(variable, ""))
    except ValueError as error:
        raise _NotTaken(f"its {variable} can't be read ({error})") from error


def _check_master(words: Sequence[str]) -> None:
    parts = [part for word in words for part in (word.split("=", 1) if word.startswith("--master=") else [word])]
    for option, master in pairwise(parts):
        if option == "--master" and not _MASTERS.match(master):
            raise _NotTaken(f"its SPARK_OPTS name the master {master[:64]}, and not Kubernetes")


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    remaining = iter(words)
    for word in remaining:
        option, equals, value = word.partition("=")
        name = option.removeprefix("--").removeprefix(_OLDER_PREFIX)
        if not option.startswith("--") or name not in {*_PASSED_ON, *_DROPPED}:
            raise _NotTaken(f"its argument {option[:64]} isn't known here")
        value = value if equals else next(remaining, "")
        if name in _PASSED_ON:
            yield name, value
