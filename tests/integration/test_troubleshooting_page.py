"""docs/troubleshooting.md: every text that the gateway can say of a failure stands there, and every class of error."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import enterprise_gateway
from enterprise_gateway import errors
from enterprise_gateway.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = " ".join((Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text().replace("`", "").split())
PACKAGE = Path(enterprise_gateway.__file__).parent
CLASSES = {name: each for name, each in vars(errors).items() if inspect.isclass(each) and issubclass(each, GatewayError)}
# Functions that put the public words together elsewhere than where an error is raised.
SPEAKERS = {
    "cluster/pods/diagnosis.py": (
        "cause_of_failure",
        "waiting_words",
        "_words_of_node",
        "cause_of_end",
        "_cause_from_outside",
        "_containers",
        "_exit_words",
        "_lack_of_memory",
        "_memory_words",
        "_name",
    ),
    "cluster/objects/start.py": ("_refusal",),
    "cluster/watch/pod_watch.py": ("_timeout_words",),
    "provisioners/exits.py": ("exit_words",),
    "readiness.py": ("problems",),
    "web/base.py": ("_words_for", "where_the_api_is_described"),
    "kernels/culling.py": ("cull_reason", "unclaimed_kernels"),
    "kernels/pending.py": ("words_of_failure",),
    "kernels/registry.py": ("refuse_waiting",),
    "links/requests.py": ("hold",),
    "websocket/rate_limit.py": ("_limited_by",),
    "launch/documents.py": ("_words",),
    "launch/template.py": ("_words",),
}
# What a kernel or a websocket is ended with, which its client reads.
ENDINGS = ("dead", "shutdown", "close")
FOR_PROGRAMMERS = ("AssertionError", "TypeError")
# Shorter pieces between two values say nothing by themselves: " of at most ".
SHORTEST = 12


def pieces(node: ast.AST) -> Iterator[str]:
    """Yield the fixed pieces of the texts in an expression that are long enough to be found again."""
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            piece = " ".join(each.value.replace("`", "").split()).strip(" .:'(")
            if len(piece) >= SHORTEST and " " in piece:
                yield piece


def called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def said() -> Iterator[tuple[str, str]]:
    """Yield where a text stands in the code, and its piece."""
    for path in sorted(PACKAGE.rglob("*.py")):
        place = str(path.relative_to(PACKAGE))
        for node in ast.walk(ast.parse(path.read_text())):
            speaks = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in SPEAKERS.get(place, ())
            if speaks:
                # Not what the function says of itself.
                parts: list[ast.AST] = [*node.body[ast.get_docstring(node) is not None :]]
            elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and called(node.exc) not in FOR_PROGRAMMERS:
                parts = [*node.exc.args[:1]]
            elif isinstance(node, ast.Call) and called(node) in {*CLASSES, *ENDINGS}:
                parts = [*node.args[-1:]]
            else:
                continue
            for piece in (piece for part in parts for piece in pieces(part)):
                yield f"{place}:{node.lineno}", piece


@pytest.mark.parametrize(
    ("place", "piece"), [pytest.param(*each, id=f"{each[0]}-{number}") for number, each in enumerate(said())]
)
def test_every_text_of_an_error_is_on_the_page(place, piece):
    assert piece in PAGE, f"{place} says it; docs/troubleshooting.md must tell the cure"


def test_the_functions_that_word_errors_are_still_there():
    for place, names in SPEAKERS.items():
        tree = ast.parse((PACKAGE / place).read_text())
        found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert set(names) <= found


def test_every_class_of_error_stands_there_with_its_status():
    shown = dict(re.findall(r"\| (\w+) \| (\d{3}) \|", PAGE))
    assert {name: shown.get(name) for name in CLASSES} == {name: str(int(each.status)) for name, each in CLASSES.items()}
