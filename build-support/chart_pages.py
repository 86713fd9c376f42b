"""Write what is made from the chart's values.yaml: its README's table, its schema and the page for migrating.

`# --` above a key begins its description; `# @schema` gives, as YAML in one line, what the default doesn't tell of its
form. With `--check` nothing is written: the exit code tells whether the files say what values.yaml says.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "deploy" / "helm" / "enterprise-gateway"
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_BEGIN, _END = "<!-- values: made by `make docs` from values.yaml -->", "<!-- end of values -->"


@dataclass(frozen=True)
class Value:
    """One key of values.yaml."""

    path: tuple[str, ...]
    default: Any
    text: str
    schema: dict[str, Any]
    children: tuple[Value, ...]

    @property
    def name(self) -> str:
        """Return the name as one writes it in `--set`."""
        return ".".join(self.path)


def read_values(text: str) -> tuple[Value, ...]:
    """Return the keys of a values file with what their comments say.

    Raises
    ------
    ValueError
        A key that takes a value has no description.
    """
    node = yaml.compose(text)
    if not isinstance(node, yaml.MappingNode):
        raise TypeError("values.yaml is not a mapping")
    return tuple(_members(node, (), text.splitlines()))


def _members(node: yaml.MappingNode, above: tuple[str, ...], lines: Sequence[str]) -> Iterator[Value]:
    for key, value in node.value:
        path = (*above, key.value)
        text, schema = _comment(lines, key.start_mark.line)
        default = yaml.safe_load(yaml.serialize(value))
        # A mapping that is free in its keys is one value, whatever its default.
        free = "additionalProperties" in schema
        children = () if free or not isinstance(value, yaml.MappingNode) else tuple(_members(value, path, lines))
        if not children and not text:
            raise ValueError(f"{'.'.join(path)} has no description: write one after `# --` in the line above it")
        yield Value(path=path, default=default, text=text, schema=schema, children=children)


def _comment(lines: Sequence[str], line: int) -> tuple[str, dict[str, Any]]:
    """Return description and schema of the key that stands in a line."""
    above: list[str] = []
    for text in reversed(lines[:line]):
        stripped = text.strip()
        if not stripped.startswith("#"):
            break
        above.insert(0, stripped.removeprefix("#").strip())
    words: list[str] = []
    schema: dict[str, Any] = {}
    for text in above:
        if text.startswith("@schema "):
            schema = yaml.safe_load(text.removeprefix("@schema "))
        elif text.startswith("-- "):
            words = [text.removeprefix("-- ")]
        elif words:
            words.append(text)
    return " ".join(words), schema


# ---------------------------------------------------------------------------------------------------------------- schema


def _schema_of(value: Value) -> dict[str, Any]:
    made: dict[str, Any] = {"description": value.text} if value.text else {}
    if value.children:
        properties = {child.path[-1]: _schema_of(child) for child in value.children}
        return {**made, "type": "object", "additionalProperties": False, "properties": properties}
    if "enum" not in value.schema:
        made["type"] = _type_of(value.default)
    return {**made, **value.schema}


def _type_of(default: object) -> str:
    match default:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
    raise TypeError(f"a default of {type(default).__name__} tells no type")


def schema(values: Sequence[Value], moved: Sequence[dict[str, Any]]) -> str:
    """Return the JSON schema: closed, but for values of older charts, which the chart itself refuses in better words."""
    properties: dict[str, Any] = {value.name: _schema_of(value) for value in values}
    for entry in moved:
        *above, last = entry["value"].split(".")
        place = properties
        for key in above:
            place = place[key]["properties"]
        place[last] = {"description": f"Not a value of this chart any more: {entry['instead']}", "deprecated": True}
    whole = {
        "$schema": _DRAFT,
        "title": "Values of the chart enterprise-gateway",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


# ----------------------------------------------------------------------------------------------------------------- pages


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _leaves(values: Sequence[Value]) -> Iterator[Value]:
    for value in values:
        if value.children:
            yield from _leaves(value.children)
        else:
            yield value


def _code(default: object) -> str:
    return f"`{_cell(json.dumps(default, ensure_ascii=False))}`"


def _tables(values: Sequence[Value]) -> Iterator[str]:
    groups = [("Of the whole installation", [value for value in values if not value.children])]
    groups += [(f"`{value.name}`", [value]) for value in values if value.children]
    for title, members in groups:
        yield from (f"### {title}", "", "| value | default | meaning |", "|---|---|---|")
        yield from (f"| `{leaf.name}` | {_code(leaf.default)} | {_cell(leaf.text)} |" for leaf in _leaves(members))
        yield ""


def readme(values: Sequence[Value], present: str) -> str:
    """Return the README with its tables of values renewed; the rest stays as it was written."""
    before, _, rest = present.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return "\n".join((before + _BEGIN, "", *_tables(values), _END)) + after


def migrating(moved: Sequence[dict[str, Any]], changed: Sequence[dict[str, Any]]) -> str:
    """Return the page that tells what became of the values of Enterprise Gateway's charts."""
    lines = [
        "# From the values of Enterprise Gateway's charts",
        "",
        "Made by `make docs` from deploy/helm/enterprise-gateway/files/moved-values.yaml.",
        "",
        "A values file that was written for Enterprise Gateway 2.x or 3.x can be given to this chart as it is. What it says",
        "works under the same names, but for these, which the chart refuses with the text that stands here:",
        "",
        "| value | write instead |",
        "|---|---|",
        *(f"| `{entry['value']}` | {_cell(entry['instead'])} |" for entry in moved),
        "",
        "A value that no chart ever had is refused by the schema, which names it.",
        "",
        "These have the same name and another default or meaning:",
        "",
        "| value | was | is |",
        "|---|---|---|",
        *(f"| `{entry['value']}` | {_cell(entry['was'])} | {_cell(entry['now'])} |" for entry in changed),
        "",
        "A release of the older chart can't be upgraded in place: selectors of a Deployment never change. Kernels that the",
        "older gateway started end with it. Uninstall it, then install this chart with the same values file.",
        "",
    ]
    return "\n".join(lines)


def files() -> Iterator[tuple[Path, str]]:
    """Yield each file that is made, with its text."""
    values = read_values((CHART / "values.yaml").read_text())
    table = yaml.safe_load((CHART / "files" / "moved-values.yaml").read_text())
    yield CHART / "values.schema.json", schema(values, table["moved"])
    yield CHART / "README.md", readme(values, (CHART / "README.md").read_text())
    yield ROOT / "docs" / "migrating-values.md", migrating(table["moved"], table["changed"])


def main() -> int:
    """Write the files, or tell which of them are out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is out of date")
    check: bool = parser.parse_args().check
    outdated = [(path, text) for path, text in files() if not path.exists() or path.read_text() != text]
    for path, text in outdated:
        if check:
            print(f"{path.relative_to(ROOT)} is not what the chart's values say: make docs", file=sys.stderr)
        else:
            path.write_text(text)
    return 1 if check and outdated else 0


if __name__ == "__main__":
    sys.exit(main())
