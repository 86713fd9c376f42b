"""The chart as Helm renders it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CHART", "Rendering", "helm", "template"]

_ROOT = Path(__file__).parents[2]
CHART = _ROOT / "deploy" / "helm" / "enterprise-gateway"


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """What Helm made, or why it didn't."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""

    def of(self, kind: str, name: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the objects of a kind, and of a name where one is given."""
        yield from (each for each in self.objects if each["kind"] == kind and name in {None, each["metadata"]["name"]})

    def one(self, kind: str, name: str | None = None) -> dict[str, Any]:
        """Return the only such object."""
        (found,) = self.of(kind, name)
        return found

    def pod_specs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield kind with name, and pod specification, of everything that makes pods."""
        for each in self.objects:
            name = f"{each['kind']}/{each['metadata']['name']}"
            if each["kind"] in {"Deployment", "DaemonSet", "Job"}:
                yield name, each["spec"]["template"]["spec"]
            elif each["kind"] == "Pod":
                yield name, each["spec"]


def helm(*arguments: str | Path, values: str = "") -> subprocess.CompletedProcess[str]:
    """Run Helm, whatever its exit code."""
    command = [_ROOT / "build-support" / "helm", *arguments]
    return subprocess.run(command, input=values, capture_output=True, text=True, check=False)


@cache
def template(values: str, *, release: str, namespace: str) -> Rendering:
    """Return what Helm makes of the chart with the text of a values file; the same object for the same text."""
    done = helm("template", release, CHART, "--namespace", namespace, "--values", "-", values=values)
    if done.returncode:
        return Rendering(error=done.stderr)
    return Rendering(objects=[each for each in yaml.safe_load_all(done.stdout) if each])
