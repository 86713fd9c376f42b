"""What the tests of the chart share: its renderings, and the cases whose result is kept.

`--renew-golden` writes what is kept anew; the difference is for whoever reads the change.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.support.charts import CHART, Rendering, helm, template

if TYPE_CHECKING:
    from collections.abc import Callable

_VALUES = Path(__file__).parent / "values"
_NAMESPACE = "enterprise-gateway"
# Case to its release: one of another name has names of its own everywhere.
_RELEASES = {
    "default": "enterprise-gateway",
    "namespaced": "enterprise-gateway",
    "everything": "notebooks",
    "puller": "notebooks",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew-golden", action="store_true", help="write the kept results of the chart anew")


def _case(name: str) -> Rendering:
    rendering = template((_VALUES / f"{name}.yaml").read_text(), release=_RELEASES[name], namespace=_NAMESPACE)
    assert not rendering.error, rendering.error
    return rendering


@pytest.fixture
def chart() -> Path:
    return CHART


@pytest.fixture
def moved() -> dict[str, Any]:
    """Return what became of the values of Enterprise Gateway's charts, as chart and documentation read it."""
    read: dict[str, Any] = yaml.safe_load((CHART / "files" / "moved-values.yaml").read_text())
    return read


@pytest.fixture
def notes() -> Callable[[dict[str, Any]], str]:
    """Return a function that tells what Helm prints at an installation with values."""

    def function(values: dict[str, Any]) -> str:
        arguments = ("enterprise-gateway", CHART, "--namespace", _NAMESPACE, "--dry-run=client", "--values", "-")
        done = helm("install", *arguments, values=yaml.safe_dump(values))
        assert not done.returncode, done.stderr
        return done.stdout.partition("\nNOTES:\n")[2]

    return function


@pytest.fixture
def render() -> Callable[..., Rendering]:
    """Return a function that renders the chart with values."""

    def function(
        values: dict[str, Any] | None = None, *, release: str = "enterprise-gateway", namespace: str = _NAMESPACE
    ) -> Rendering:
        return template(yaml.safe_dump(values or {}), release=release, namespace=namespace)

    return function


@pytest.fixture
def lint() -> Callable[[str], str]:
    """Return a function that tells what `helm lint --strict` finds wrong with a case."""

    def function(name: str) -> str:
        done = helm("lint", "--strict", CHART, "--values", _VALUES / f"{name}.yaml")
        return done.stdout + done.stderr if done.returncode else ""

    return function


@pytest.fixture(params=sorted(_RELEASES))
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def rendering(case: str) -> Rendering:
    """Return what the chart makes of a case."""
    return _case(case)
