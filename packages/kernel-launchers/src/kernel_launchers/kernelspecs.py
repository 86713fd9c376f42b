"""A kernelspec that lies in the kernel's image: its command is the kernel's, whatever language that is."""

import json
import os
import re
import sys
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple

from kernel_launchers.errors import NotInstalled

__all__ = ["Kernelspec", "find_kernelspec"]

_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


class Kernelspec(NamedTuple):
    """What is needed of one."""

    folder: str
    argv: List[str]
    variables: Dict[str, str]
    """The environment of its kernel, with the variables filled in that it names."""
    language: str = ""
    interrupt_mode: str = "signal"


def find_kernelspec(name: str, environment: Mapping[str, str]) -> Kernelspec:
    """Return a kernelspec by its folder, or by its name from the folders where Jupyter looks.

    Raises
    ------
    NotInstalled
        There is none, or it can't be used.
    """
    folders = [name] if os.sep in name else [os.path.join(folder, "kernels", name) for folder in _data_folders(environment)]  # noqa: PTH118  texts, as they were given
    for folder in folders:
        path = os.path.join(folder, "kernel.json")  # noqa: PTH118  as above
        try:
            with open(path, encoding="utf-8") as file:  # noqa: PTH123  as above
                content = json.load(file)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise NotInstalled(f"{path} can't be read: {error}") from error
        return _kernelspec(path, content, environment)
    raise NotInstalled(f"the image has no kernelspec {name}; looked for kernel.json in {', '.join(folders)}")


def _data_folders(environment: Mapping[str, str]) -> Iterator[str]:
    yield from filter(None, environment.get("JUPYTER_PATH", "").split(os.pathsep))
    home = environment.get("HOME", "/")
    yield environment.get("JUPYTER_DATA_DIR") or f"{home}/.local/share/jupyter"
    for prefix in (sys.prefix, "/usr/local", "/usr"):
        yield f"{prefix}/share/jupyter"


def _kernelspec(path: str, content: Any, environment: Mapping[str, str]) -> Kernelspec:  # noqa: ANN401  as JSON gave it
    argv = content.get("argv") if isinstance(content, dict) else None
    if not isinstance(argv, list) or not argv or not all(isinstance(argument, str) for argument in argv):
        raise NotInstalled(f"{path} has no argv that is a list of texts")
    variables = content.get("env") or {}
    if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
        raise NotInstalled(f"{path} has an env that isn't a mapping of texts")
    filled = {
        name: _VARIABLE.sub(lambda match: environment.get(match.group(1) or match.group(2), match.group(0)), value)
        for name, value in variables.items()
    }
    return Kernelspec(
        folder=os.path.dirname(path),  # noqa: PTH120  as above
        argv=argv,
        variables=filled,
        language=str(content.get("language", "")),
        interrupt_mode=str(content.get("interrupt_mode", "signal")),
    )
