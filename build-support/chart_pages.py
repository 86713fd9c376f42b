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


Moved = dict[str, list[dict[str, Any]]]
"""files/moved-values.yaml: values that were renamed, are refused, or changed their meaning."""

_MIGRATING = """\
# From the values of Enterprise Gateway's charts

Made by `make docs` from deploy/helm/enterprise-gateway/files/moved-values.yaml.

A values file written for Enterprise Gateway 2.x or 3.x works with this chart, except for [values without a
counterpart](#values-without-a-counterpart). So do the commands of its tutorials:

```bash
kubectl create namespace enterprise-gateway
helm upgrade --install --atomic --namespace enterprise-gateway enterprise-gateway deploy/helm/enterprise-gateway \\
    --set replicas=2 --set kernelspecs.image=registry.example.com/kernelspecs:1
```

Helm 4 renamed `--atomic` to `--rollback-on-failure`; the older name still works, with the message `Flag --atomic has been
deprecated`. Either waits until the release is ready. Helm doesn't create the namespace by itself: create it first, or add
`--create-namespace`.

## Older names

Both names work. Where both are set, the newer one wins; an empty text, list or mapping counts as not set. The notes that
Helm prints after an installation name the newer value for each older one in use.

| older name | newer name |
|---|---|
{renamed}

`ingress.traefik` and `ingress.nginx` default to the older chart's paths: `/gateway`, and `/gateway/?(.*)` with the annotations
with which NGINX rewrites it. An annotation `kubernetes.io/ingress.class` becomes `ingressClassName`. Traefik 2 and newer pass
the path on unless a Middleware strips it (the annotation `traefik.ingress.kubernetes.io/router.middlewares` names one); without
that annotation the chart sets `baseUrl` to the path, so the path is part of the Service's URLs too.

## Values without a counterpart

The chart refuses these, with the text in the second column. `namespace` is accepted where it names the release's own
namespace, and `kip.podSecurityPolicy` where `create` is false. It also refuses `kip.criSocket: /var/run/docker.sock`, the
older chart's default, because only nodes that run Docker have that socket.

| value | use instead |
|---|---|
{refused}

A value that no chart ever had is refused by the schema, which names it.

## Same name, different default or meaning

| value | was | is |
|---|---|---|
{changed}

## Upgrade from the older chart

A release of the older chart can't be upgraded in place, because a Deployment's selector is immutable. Uninstall it, which ends
the kernels that it started, then install this chart with the same values file.
"""


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
        made["type"] = value.schema.get("type") or _type_of(value.default)
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


def schema(values: Sequence[Value], moved: Moved) -> str:
    """Return the JSON schema: closed; older names have their form, and what the chart refuses itself passes."""
    properties: dict[str, Any] = {value.name: _schema_of(value) for value in values}
    older = [
        (entry["value"], {"description": f"Older name of {entry['newer']}", **entry["schema"]}) for entry in moved["renamed"]
    ]
    older += [(each["value"], {"description": f"Not a value of this chart: {each['instead']}"}) for each in moved["refused"]]
    for name, form in older:
        *above, last = name.split(".")
        place = properties
        for key in above:
            place = place[key]["properties"]
        place[last] = {**form, "deprecated": True}
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


def _default(value: Value) -> object:
    # What is null in values.yaml, so that one sees whether it is set, has its default in the schema.
    return value.schema.get("default", value.default)


def _tables(values: Sequence[Value]) -> Iterator[str]:
    groups = [("Of the whole installation", [value for value in values if not value.children])]
    groups += [(f"`{value.name}`", [value]) for value in values if value.children]
    for title, members in groups:
        yield from (f"### {title}", "", "| value | default | meaning |", "|---|---|---|")
        yield from (f"| `{leaf.name}` | {_code(_default(leaf))} | {_cell(leaf.text)} |" for leaf in _leaves(members))
        yield ""


def readme(values: Sequence[Value], present: str) -> str:
    """Return the README with its tables of values renewed; the rest stays as it was written."""
    before, _, rest = present.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return "\n".join((before + _BEGIN, "", *_tables(values), _END)) + after


def migrating(moved: Moved) -> str:
    """Return the page that tells what became of the values of Enterprise Gateway's charts."""
    rows: dict[str, list[tuple[str, ...]]] = {
        "renamed": [(f"`{each['value']}`", each["newer"]) for each in moved["renamed"]],
        "refused": [(f"`{each['value']}`", each["instead"]) for each in moved["refused"]],
        "changed": [(f"`{each['value']}`", each["was"], each["now"]) for each in moved["changed"]],
    }
    return _MIGRATING.format(
        **{name: "\n".join(f"| {' | '.join(map(_cell, cells))} |" for cells in each) for name, each in rows.items()}
    )


def files() -> Iterator[tuple[Path, str]]:
    """Yield each file that is made, with its text."""
    values = read_values((CHART / "values.yaml").read_text())
    moved: Moved = yaml.safe_load((CHART / "files" / "moved-values.yaml").read_text())
    yield CHART / "values.schema.json", schema(values, moved)
    yield CHART / "README.md", readme(values, (CHART / "README.md").read_text())
    yield ROOT / "docs" / "migrating-values.md", migrating(moved)


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
