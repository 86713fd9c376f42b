"""`launch-kernel`: supervises the kernel of a pod and ends with its exit status."""

import os
import sys
from contextlib import ExitStack
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from enterprise_gateway_common.connection import InvalidConnectionInfo, SupervisorSettings, supervisor_settings
from kernel_launchers.connection import check_file
from kernel_launchers.errors import LaunchRefused
from kernel_launchers.languages import python, r, scala
from kernel_launchers.options import Options, read_options
from kernel_launchers.signals import end_on_sigterm
from kernel_launchers.supervisor.supervisor import Supervisor
from kernel_launchers.traits import KernelTraits, foreign_traits, traits_of

__all__ = ["main"]

_CRASHED = 1

_COMMANDS: Dict[str, Callable[[Options, str], List[str]]] = {"python": python.command, "r": r.command, "scala": scala.command}
_WAITING_COMMANDS: Dict[str, Callable[[Options, str], List[str]]] = {
    "python": python.waiting_command,
    "r": r.waiting_command,
    "scala": scala.waiting_command,
}


def main(arguments: Optional[Sequence[str]] = None, environment: Optional[Mapping[str, str]] = None) -> int:
    """Return the exit status of the kernel, or of what kept it from starting, which is then told."""
    # First of all: process 1 of a container that was told to end before it had asked for the signal would be told in vain.
    end_on_sigterm()
    variables = dict(os.environ if environment is None else environment)
    try:
        return _run(read_options(sys.argv[1:] if arguments is None else arguments, variables), variables)
    except LaunchRefused as refusal:
        _report(f"launch-kernel: {refusal}")
        return refusal.status
    except Exception:
        # Here, as most of what a start may need: a kernel's start waits for nothing that it doesn't.
        import traceback

        _report(traceback.format_exc())
        return _CRASHED


def _run(options: Options, environment: Dict[str, str]) -> int:
    if options.spark_mode != "none":
        from kernel_launchers.spark.check import check

        check(options)
    if options.connection_file is None:
        return _run_and_tell(options, environment)
    info = check_file(options.connection_file)
    try:
        settings = supervisor_settings(info)
    except InvalidConnectionInfo as error:
        raise LaunchRefused(f"{options.connection_file}: {error}") from None
    if settings is not None:
        return _run_for_gateways(options, settings, info, environment)
    if not options.command and not options.kernelspec:
        return _supervisor(options, options.connection_file, environment).run()
    from kernel_launchers.connection import private_copy
    from kernel_launchers.folders import temporary_folder

    with temporary_folder() as folder:
        return _supervisor(options, private_copy(options.connection_file, folder), environment).run()


def _run_for_gateways(
    options: Options, settings: SupervisorSettings, info: Mapping[str, Any], environment: Dict[str, str]
) -> int:
    """Run a kernel that only this process speaks with, which listens for its gateways."""
    from kernel_launchers.folders import temporary_folder
    from kernel_launchers.link.linked_kernel import LinkedKernel

    with temporary_folder() as folder:
        path = os.path.join(folder, "connection.json")  # noqa: PTH118  a path of the pod, as it was given
        command, variables, traits = _kernel(options, path, environment, waits_for_claim=settings.waits_for_claim)
        waiting = _waiting_command(options, path, command) if settings.waits_for_claim else None
        keeper = LinkedKernel(
            settings=settings,
            connection_path=path,
            key=info["key"],
            kernel_name=str(info.get("kernel_name", "")),
            traits=traits,
        )
        return Supervisor(
            command,
            environment={**environment, **variables},
            waiting_command=waiting,
            grace=options.termination_grace,
            keeper=keeper,
        ).run()


def _run_and_tell(options: Options, environment: Dict[str, str]) -> int:
    """Run a kernel whose gateway waits to be told its connection."""
    from kernel_launchers.connection import own_connection
    from kernel_launchers.folders import temporary_folder
    from kernel_launchers.phone_home import CommandListener, send_connection

    with ExitStack() as stack:
        connection_file, info = own_connection(options, stack.enter_context(temporary_folder()))
        supervisor = _supervisor(options, connection_file, environment)
        listener = stack.enter_context(CommandListener(supervisor.loop, supervisor.send_signal, port_range=options.port_range))
        send_connection(options, info, command_port=listener.port)
        return supervisor.run()


def _supervisor(options: Options, connection_file: str, environment: Dict[str, str]) -> Supervisor:
    command, variables, _ = _kernel(options, connection_file, environment)
    return Supervisor(command, environment={**environment, **variables}, grace=options.termination_grace)


def _kernel(
    options: Options, connection_file: str, environment: Dict[str, str], *, waits_for_claim: bool = False
) -> Tuple[List[str], Dict[str, str], KernelTraits]:
    """Return the command of the kernel, what it adds to the environment, and what the kernel can.

    The kernel's id stays a placeholder where only its claim will tell it.
    """
    places = {"{connection_file}": connection_file}
    if not waits_for_claim:
        places["{kernel_id}"] = options.kernel_id
    if options.connection_file is not None:
        # A gateway that fills the place in itself knows the mounted file only.
        places[options.connection_file] = connection_file
    if options.kernelspec:
        from kernel_launchers.kernelspecs import find_kernelspec

        kernelspec = find_kernelspec(options.kernelspec, environment)
        places["{resource_dir}"] = kernelspec.folder
        traits = foreign_traits(kernelspec.language, interrupt_mode=kernelspec.interrupt_mode)
        return _filled_in(kernelspec.argv, places), kernelspec.variables, traits
    if options.command:
        return _filled_in(options.command, places), {}, foreign_traits(options.language)
    # IPython's kernel and those that are made of its parts.
    unix_sockets = options.language == "python" or (options.language == "scala" and not environment.get("TOREE_JAR"))
    traits = traits_of(options.language)._replace(unix_sockets=unix_sockets)
    return _COMMANDS[options.language](options, connection_file), {}, traits


def _waiting_command(options: Options, connection_file: str, command: Sequence[str]) -> List[str]:
    """Return the command of what waits for a claim in the kernel's place, and becomes the kernel."""
    if options.command or options.kernelspec:
        from kernel_launchers.waiting import exec_command

        return exec_command(command)
    return _WAITING_COMMANDS[options.language](options, connection_file)


def _filled_in(command: Sequence[str], places: Mapping[str, str]) -> List[str]:
    filled = list(command)
    for place, value in places.items():
        filled = [argument.replace(place, value) for argument in filled]
    return filled


def _report(message: str) -> None:
    from kernel_launchers.supervisor.termination import report

    report(message)
