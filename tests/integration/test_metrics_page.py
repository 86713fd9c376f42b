"""docs/metrics.md: it names every metric that is exposed with its type and labels, and every alert of the chart."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from enterprise_gateway.metrics import GatewayMetrics
from kernel_image_puller.reporting.metrics import PullerMetrics
from kernel_image_puller.states import ImageState, ImageStatus

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text()

RULES = (ROOT / "deploy" / "helm" / "enterprise-gateway" / "templates" / "metrics" / "rules.yaml").read_text()
PRESENT = ImageStatus(
    reference="docker.io/library/x:1",
    state=ImageState.PRESENT,
    policy="IfNotPresent",
    wanted_by=(),
    size=1,
    since=0.0,
    tries=0,
    last_error="",
    reason="",
    next_try=None,
    done_bytes=0,
    total_bytes=0,
)


def on_the_page(prefix: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return type and labels of the metrics that the page names, without the ending that counters get."""
    rows = re.findall(rf"^\| `({prefix}\w+)` \| (\w+) \| (.*?) \|", PAGE, re.MULTILINE)
    return {name.removesuffix("_total"): (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def exposed(text: bytes) -> dict[str, tuple[str, frozenset[str]]]:
    families = [each for each in text_string_to_metric_families(text.decode()) if not each.name.startswith("process_")]
    return {
        each.name: (each.type, frozenset(label for sample in each.samples for label in sample.labels) - {"le"})
        for each in families
    }


@pytest.fixture
def gateway() -> bytes:
    metrics = GatewayMetrics(version="1")
    metrics.observe_kernels(lambda: [("python3", "idle")])
    metrics.observe_usage(lambda: [("python3", 1 << 20, 0.5)])
    metrics.observe_leader(lambda: True)
    metrics.observe_pool(lambda: [("python3", "ready", 2)])
    metrics.launch_finished("python3", 1.0, "LaunchFailed", {})
    metrics.dropped("log_full")
    metrics.request_finished("GET", "/api", 200, 0.1)
    return metrics.exposition()


@pytest.fixture
def puller() -> bytes:
    metrics = PullerMetrics()
    metrics.show(
        statuses=lambda: [PRESENT],
        queue_depth=lambda: 0,
        first_sync=lambda: True,
        last_sync=lambda: None,
        per_image=True,
    )
    return metrics.text()


def test_every_metric_of_the_gateway_is_on_the_page(gateway):
    assert on_the_page("enterprise_gateway_") == exposed(gateway)


def test_every_metric_of_the_puller_is_on_the_page(puller):
    assert on_the_page("kip_") == exposed(puller)


def test_every_alert_of_the_chart_is_on_the_page():
    alerts = set(re.findall(r"alert: (\w+)", RULES))
    assert alerts
    assert alerts == set(re.findall(r"^\| `((?:Enterprise|Kernel)\w+)` \|", PAGE, re.MULTILINE))
