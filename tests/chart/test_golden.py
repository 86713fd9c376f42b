"""What the chart makes of a few sets of values, as it was read and found right: a change of it is seen in review."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import pytest
    from tests.support.charts import Rendering

_GOLDEN = Path(__file__).parent / "golden"
_DRAWN = "drawn at the installation"
# Every object has these; tests/chart/test_objects.py sees to it, and a reader needn't.
_OF_EVERY_OBJECT = (
    "app",
    "component",
    "gateway-selector",
    "helm.sh/chart",
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
)
# Long, and read where they are written.
_FILES = ("end_kernels.py", "run_cell.py", "notebooks-kernels.json")


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002  PyYAML's signature
        super().increase_indent(flow, indentless=False)


def _readable(each: dict[str, Any]) -> dict[str, Any]:
    for metadata in (each["metadata"], each.get("spec", {}).get("template", {}).get("metadata", {})):
        if "labels" in metadata:
            metadata["labels"] = {key: text for key, text in metadata["labels"].items() if key not in _OF_EVERY_OBJECT}
            if not metadata["labels"]:
                del metadata["labels"]
    data = each.get("data", {})
    for name in _FILES:
        if name in data:
            data[name] = f"the file {name}"
    return each


def test_the_chart_makes_what_was_found_right(case: str, rendering: Rendering, request: pytest.FixtureRequest) -> None:
    objects = yaml.safe_load(yaml.safe_dump(rendering.objects))
    for each in objects:
        if each["kind"] == "Secret" and case == "default":
            each["data"]["token"] = _DRAWN
    objects.sort(key=lambda each: (each["kind"], each["metadata"]["name"]))
    text = "---\n".join(
        yaml.dump(_readable(each), Dumper=_Dumper, sort_keys=False, width=130, allow_unicode=True) for each in objects
    )
    file = _GOLDEN / f"{case}.yaml"
    if request.config.getoption("--renew-golden"):
        file.write_text(text)
    assert text == file.read_text(), "make chart ARGS=--renew-golden writes it anew"
