"""Write docs/settings/*.md: each component's settings, from the declarations that its program reads.

With `--check` nothing is written: the exit code tells whether the pages say what the declarations say.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from enterprise_gateway_common.environment import SettingDeclaration, declarations

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = Path(__file__).resolve().parent.parent / "docs" / "settings"

COMPONENTS = {
    "enterprise_gateway.settings": ("gateway.md", "Settings of the gateway"),
    "kernel_image_puller.settings": ("kernel-image-puller.md", "Settings of the image puller"),
    "kernel_launchers.settings": ("kernel-launchers.md", "Settings of the kernel launchers"),
}

INTRODUCTION = """\
Made by `make docs` from the declarations in the code. Of several environment names the first is the newest; the others
work and are reported once as older names. A variable with the same prefix that isn't here is logged as one that has no
effect, with the name that it looks like.
"""


def settings_of(module: str) -> list[SettingDeclaration]:
    """Return the settings that a module's own dataclasses declare, in their order."""
    found = [
        each
        for each in vars(importlib.import_module(module)).values()
        if isinstance(each, type) and dataclasses.is_dataclass(each) and each.__module__ == module
    ]
    return [declaration for each in found for declaration in declarations(each)]


def cell(value: str) -> str:
    """Return text as it may stand in one cell of a table."""
    return " ".join(value.split()).replace("|", "\\|")


def default_of(declaration: SettingDeclaration) -> str:
    """Return a default as a reader would write it."""
    match declaration.default:
        case bool() as truth:
            text = str(truth).lower()
        case frozenset() as several:
            text = ", ".join(sorted(map(str, several)))
        case tuple() as several:
            text = ", ".join(map(str, several))
        case other:
            text = "" if other is None else str(other)
    return f"`{cell(text)}`" if text else "none"


def page(title: str, settings: list[SettingDeclaration]) -> str:
    """Return the page of one component, a table for each group."""
    lines = [f"# {title}", "", INTRODUCTION]
    for group, members in itertools.groupby(settings, key=lambda each: each.group):
        lines += [f"## {group}", "", "| setting | environment | value | default | meaning |", "|---|---|---|---|---|"]
        for each in members:
            environment = ", ".join(f"`{name}`" for name in each.environment) or "none"
            kind = cell(each.kind.description) + (" (secret)" if each.secret else "")
            lines.append(f"| `{each.name}` | {environment} | {kind} | {default_of(each)} | {cell(each.help)} |")
        lines.append("")
    return "\n".join(lines)


def pages() -> Iterator[tuple[Path, str]]:
    """Yield each page's place and text; a component without settings has none."""
    for module, (name, title) in COMPONENTS.items():
        if importlib.util.find_spec(module) is None:
            continue
        if settings := settings_of(module):
            yield PAGES / name, page(title, settings)


def main() -> int:
    """Write the pages, or tell which of them are out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is out of date")
    check: bool = parser.parse_args().check
    outdated = [(path, text) for path, text in pages() if not path.exists() or path.read_text() != text]
    for path, text in outdated:
        if check:
            print(f"docs/settings/{path.name} is not what the declarations say: make docs", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return 1 if check and outdated else 0


if __name__ == "__main__":
    sys.exit(main())
