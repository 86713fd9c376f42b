"""Every object is what the API of each Kubernetes release says, from the oldest that the chart claims to the newest known."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.charts import Rendering

_OLDEST = (1, 28)
_VERSIONS = sorted({tuple(int(part) for part in version.split(".")[:2]) for version in utils.all_versions()})
# Their schemas come with the Prometheus operator.
_OTHER_APIS = ("monitoring.coreos.com/",)


@pytest.fixture(autouse=True, scope="module")
def _definitions_are_read_once() -> Iterator[None]:
    # The library reads a release's definitions, some megabytes, anew for every object.
    read = utils.schema_contents
    utils.schema_contents = cache(read)
    yield
    utils.schema_contents = read


@pytest.mark.parametrize("version", [f"{major}.{minor}" for major, minor in _VERSIONS if (major, minor) >= _OLDEST])
def test_objects_fit_the_schemas(rendering: Rendering, version: str) -> None:
    for each in rendering.objects:
        if not each["apiVersion"].startswith(_OTHER_APIS):
            kubernetes_validate.validate(each, version, strict=True)


def test_the_chart_claims_no_release_that_isnt_checked(chart: Path) -> None:
    claimed = yaml.safe_load((chart / "Chart.yaml").read_text())["kubeVersion"]

    assert claimed == f">={_OLDEST[0]}.{_OLDEST[1]}.0-0"
    assert _OLDEST in _VERSIONS
